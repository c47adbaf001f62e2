"""The expression editor's sliders as a motion track: how the embedded renderer draws them.

Sizes are those that look alike on both renderers: a slider's end is what a face does at its most.
Source: spec liveportrait.md §15.2 (what a slider means), embedded.md §5 (what one picture bears).
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats
from ..motion.face_measurements import FaceMeasurements
from ..motion.rotation import swap_convention
from ..motion.track import HeadTrack, MotionTrack, MouthControls
from ..options.sliders import ExpressionEdit
from .retargeting import LOOK, Rest, blink_from_eye_ratios, controls_from_measurements

# IOD at a slider's ends.
_AAA_UNITS = 290.0  # of `aaa` that are 1 IOD of opening (motion.lips)
_OPEN_MOST = 0.23
_EEE, _WOO, _SMILE_UP, _SMILE_WIDE, _BROWS = 0.10, 0.11, 0.045, 0.09, 0.09
_PRESS = 0.05
_SHUT, _WINK, _PUPILS = 20.0, 22.0, 15.0  # units that shut both eyes, shut one, turn the irises all the way
_WIDEN = 0.04  # of the eye's gap a unit
_LIDS_FOLLOW = 0.15  # of a blink, of a full look up or down
_TURN_DEG = np.array([13.0, 13.0, 11.0])  # turns bend towards these, so that a slider has no dead end
_BROWS_MOST = 0.08  # IOD, of a copied face: brows differ from person to person


def build_edit_track(
    edit: ExpressionEdit, own: FaceMeasurements, sample: FaceMeasurements | None = None
) -> MotionTrack:
    """One frame of motion that does what the sliders say.

    Args:
        edit: the sliders.
        own: of the portrait: one frame.
        sample: of a face that is copied: one frame.
    """
    rest = Rest.average()
    mouth = _mouth(edit)
    blink = np.full(2, -edit.blink / _SHUT if edit.blink < 0 else -_WIDEN * edit.blink)
    blink[0] += edit.wink / _WINK
    gaze = np.array([edit.pupil_x, edit.pupil_y]) / _PUPILS
    blink -= _LIDS_FOLLOW * gaze[1]
    brows = np.full(2, _BROWS * edit.eyebrow / 15)
    if edit.source_ratio < 1:  # what we know of its own expression is taken back
        shown = controls_from_measurements(own.mouth[:1] - rest.mouth)[0] * (1, 0, 0, 0, 1)
        lost = 1 - edit.source_ratio
        mouth, gaze = mouth - lost * shown, gaze - lost * (own.gaze[0] - rest.gaze) / LOOK
    if sample is not None:
        ratio, parts = edit.sample_ratio, edit.sample_parts
        if parts in ("all", "expression", "mouth"):
            mouth = mouth + ratio * controls_from_measurements(sample.mouth[:1] - rest.mouth)[0]
        if parts in ("all", "expression", "eyes"):
            blink = blink + ratio * blink_from_eye_ratios(sample.eye_ratios[:1], rest.eyes)[0]
            gaze = gaze + ratio * (sample.gaze[0] - rest.gaze) / LOOK
            brows = brows + ratio * np.clip(sample.brow_height[0] - rest.brows, -_BROWS_MOST, _BROWS_MOST)
    return MotionTrack(
        fps=own.fps,
        head=HeadTrack.turning(limit_turn(compute_turn(edit, sample))[None]),
        blink=np.clip(blink, -0.3, 1)[None],
        gaze=np.clip(gaze, -1, 1)[None],
        mouth=MouthControls(mouth[None]),
        brows=brows[None],
    )


def compute_turn(edit: ExpressionEdit, sample: FaceMeasurements | None = None) -> Floats:
    """(3,) pitch, yaw, roll that the sliders and the copied face ask for, degrees."""
    turn: Floats = swap_convention(edit.turn_deg())
    if sample is not None and edit.sample_parts in ("all", "rotation"):
        turn = turn + edit.sample_ratio * sample.rotation_deg[0]
    return turn


def limit_turn(turn_deg: Floats) -> Floats:
    """(3,) angles, bent so that a slider has no dead end where the renderer's limit is reached."""
    bent_deg: Floats = _TURN_DEG * np.tanh(turn_deg / _TURN_DEG)
    return bent_deg


def _mouth(edit: ExpressionEdit) -> Floats:
    """(5,) controls: open, spread, round, press, corner_up."""
    asked = edit.aaa / _AAA_UNITS
    opened = _OPEN_MOST * np.tanh(asked / _OPEN_MOST) if asked > 0 else asked
    press = _PRESS * max(-edit.aaa, 0.0) / 30
    eee, woo = max(edit.eee, 0.0) / 15, max(edit.woo, 0.0) / 15
    less_eee, less_woo = max(-edit.eee, 0.0) / 20, max(-edit.woo, 0.0) / 20
    smile = max(edit.smile, 0.0)
    spread = _EEE * eee + 0.5 * _WOO * less_woo + _SMILE_WIDE * smile
    rounded = _WOO * woo + 0.5 * _EEE * less_eee
    return np.array([opened, spread, rounded, press, _SMILE_UP * edit.smile])
