"""Conversion of the expression editor's sliders to a motion track, for the embedded renderer.

The end of a slider is the most that a face does, so that both renderers look alike. Sources:
docs/method/liveportrait.md, Expression editor; docs/method/reenactment.md, Posing by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..arrays import Floats
from ..motion.face_measurements import FaceMeasurements
from ..motion.rotation import swap_convention
from ..motion.track import HeadTrack, MotionTrack, MouthControls
from ..options.sliders import FULL_BROWS, FULL_SMILE, ExpressionEdit, sliders, turn_of
from .retargeting import GAZE_TRAVEL, Rest, blink_from_eye_ratios, controls_from_measurements

_AAA_UNITS = 290.0  # of `aaa` per IOD of opening, as in motion.lips
# IOD at the end of the slider.
_MAX_OPEN = 0.23
_EEE, _WOO = 0.10, 0.11
_PRESS = 0.05
_SHUT, _WINK, _PUPILS = 20.0, 22.0, 15.0  # units that shut both eyes, shut one, turn the irises fully
_WIDEN = 0.04  # of the eye's gap, per unit
_LIDS_FOLLOW = 0.15  # of a blink, per full look up or down
_MAX_SAMPLE_BROWS = 0.08  # IOD: brow heights differ between people


def build_slider_track(values: Mapping[str, Floats], fps: float) -> MotionTrack:
    """Return what sliders over time change.

    Args:
        values: slider → (T,) values, at least one; a slider that is left out is at rest.
        fps: frames a second.
    """
    rest = np.zeros_like(next(iter(values.values())), dtype=np.float64)

    def of(slider: str) -> Floats:
        return np.asarray(values.get(slider, rest), np.float64)

    gaze = np.stack([of("pupil_x"), of("pupil_y")], axis=1) / _PUPILS
    lids = np.where(of("blink") < 0, -of("blink") / _SHUT, -_WIDEN * of("blink")) - _LIDS_FOLLOW * gaze[:, 1]
    return MotionTrack(
        fps=fps,
        head=HeadTrack.turning(swap_convention(turn_of({"blink": rest, **values}))),
        blink=np.stack([lids + of("wink") / _WINK, lids], axis=1),
        gaze=gaze,
        mouth=MouthControls(_compute_mouth(*(of(slider) for slider in ("aaa", "eee", "woo")))),
        brows=np.tile(FULL_BROWS * of("eyebrow")[:, None] / 15, 2),
        smile=FULL_SMILE * of("smile"),
    )


def build_edit_track(
    edit: ExpressionEdit, own: FaceMeasurements, sample: FaceMeasurements | None = None
) -> MotionTrack:
    """Return one frame of motion for slider values.

    Args:
        edit: slider values.
        own: measurements of the portrait, one frame.
        sample: measurements of the face whose expression is copied, one frame.
    """
    rest = Rest.average()
    values = {each.name: np.array([getattr(edit, each.name)]) for each in sliders(type(edit))}
    track = build_slider_track(values, own.fps)
    assert isinstance(track.mouth, MouthControls)
    mouth, blink, gaze, brows = track.mouth.values[0], track.blink[0], track.gaze[0], track.brows[0]
    if edit.source_ratio < 1:
        shown = controls_from_measurements(own.mouth[:1] - rest.mouth)[0] * (1, 0, 0, 0, 1)
        removed = 1 - edit.source_ratio
        mouth, gaze = mouth - removed * shown, gaze - removed * (own.gaze[0] - rest.gaze) / GAZE_TRAVEL
    if sample is not None:
        ratio, parts = edit.sample_ratio, edit.sample_parts
        if parts in ("all", "expression", "mouth"):
            mouth = mouth + ratio * controls_from_measurements(sample.mouth[:1] - rest.mouth)[0]
        if parts in ("all", "expression", "eyes"):
            blink = blink + ratio * blink_from_eye_ratios(sample.eye_ratios[:1], rest.eyes)[0]
            gaze = gaze + ratio * (sample.gaze[0] - rest.gaze) / GAZE_TRAVEL
            brows = brows + ratio * np.clip(sample.brow_height[0] - rest.brows, -_MAX_SAMPLE_BROWS, _MAX_SAMPLE_BROWS)
    return replace(
        track,
        head=HeadTrack.turning(compute_turn(edit, sample)[None]),
        blink=np.clip(blink, -0.3, 1)[None],
        gaze=np.clip(gaze, -1, 1)[None],
        mouth=MouthControls(mouth[None]),
        brows=brows[None],
    )


def compute_turn(edit: ExpressionEdit, sample: FaceMeasurements | None = None) -> Floats:
    """Return pitch, yaw, roll (3,) in degrees of the sliders and the copied face."""
    turn: Floats = swap_convention(edit.turn_deg())
    if sample is not None and edit.sample_parts in ("all", "rotation"):
        turn = turn + edit.sample_ratio * sample.rotation_deg[0]
    return turn


def opening_of(aaa: Floats) -> Floats:
    """Return the opening of the mouth (T,) in IOD for the slider `aaa` (T,)."""
    opened = aaa / _AAA_UNITS
    return np.where(opened > 0, _MAX_OPEN * np.tanh(opened / _MAX_OPEN), opened)


def _compute_mouth(aaa: Floats, eee: Floats, woo: Floats) -> Floats:
    """Return the mouth controls (T, 5) of the sliders (T,)."""
    press = _PRESS * np.maximum(-aaa, 0.0) / 30
    more_eee, more_woo = np.maximum(eee, 0.0) / 15, np.maximum(woo, 0.0) / 15
    less_eee, less_woo = np.maximum(-eee, 0.0) / 20, np.maximum(-woo, 0.0) / 20
    spread = _EEE * more_eee + 0.5 * _WOO * less_woo
    rounded = _WOO * more_woo + 0.5 * _EEE * less_eee
    return np.stack([opening_of(aaa), spread, rounded, press, 0 * aaa], axis=1)
