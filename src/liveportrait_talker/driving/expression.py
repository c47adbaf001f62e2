"""Expressions of a face that speaks: named ones, and how an expression and speech share one mouth.

Source: docs/method/motion.md, Expression.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import Floats, Floats64
from ..motion.lips import keypoints_from_controls, press_for_spread
from ..motion.smoothing import bell_average, smoothstep
from ..motion.track import HeadTrack, LipKeypoints, MotionTrack, Mouth, MouthControls

_SHUT = 0.05  # IOD: lips up to this apart may touch in the picture, and are not opened further
_WIDE_OPEN = 0.2  # IOD, of speech: opened further by as much as the slider says
_PRESS_PER_ROUND = 0.42  # by which shut lips are as thick as without
_WIDEST = -0.4  # of `MotionTrack.blink`
_LIPS_MEET_S = 0.3  # before and after speech lips are as speech has them


@dataclass(frozen=True)
class Preset:
    """A named expression: mouth controls and brows in IOD, lids as in `MotionTrack.blink`."""

    rounded: float = 0.0
    press: float = 0.0
    smile: float = 0.0
    brows: float = 0.0
    inner_brows: float = 0.0
    lids: float = 0.0


PRESETS = {
    "happy": Preset(press=0.006, smile=0.06, brows=0.012, lids=0.05),
    "sad": Preset(smile=-0.035, press=0.03, brows=-0.012, inner_brows=0.06, lids=0.12),
    "angry": Preset(rounded=0.02, press=0.025, smile=-0.02, brows=-0.024, inner_brows=-0.045, lids=-0.05),
    "surprised": Preset(rounded=0.015, brows=0.09, inner_brows=0.01, lids=-0.28),
    "calm": Preset(press=0.012, smile=0.018, brows=0.006, lids=0.08),
}


def add_preset(change: MotionTrack, name: str, amount: float) -> MotionTrack:
    """Return a change of the face with a named expression, `amount` 0…1, added."""
    preset = PRESETS[name]
    assert isinstance(change.mouth, MouthControls)
    controls = np.array([0, 0, preset.rounded, preset.press, 0])
    return replace(
        change,
        mouth=MouthControls(change.mouth.values + amount * controls),
        brows=change.brows + amount * preset.brows,
        inner_brows=change.inner_brows + amount * preset.inner_brows,
        smile=change.smile + amount * preset.smile,
        blink=change.blink + amount * preset.lids,
    )


def mix_expression(
    track: MotionTrack, change: MotionTrack, aperture: Floats, *, opened_in_pauses: Floats, speaking: Floats
) -> MotionTrack:
    """Return the motion of a speaking face with an expression added.

    Lips that speech shuts stay shut, blinks still shut the eyes.

    Args:
        track: of the face that speaks.
        change: what the expression changes, its mouth in `MouthControls`.
        aperture: (T,) of the lips in `track`, IOD.
        opened_in_pauses: (T,) IOD by which the lips open where nothing is said.
        speaking: (T,) 0…1, from `audio.loudness`.
    """
    assert isinstance(change.mouth, MouthControls)
    controls = change.mouth.values.astype(np.float64)
    is_shut = 1 - smoothstep(_SHUT / 2, 2 * _SHUT, aperture)
    controls[:, 3] += press_for_spread(controls[:, 1]) + _PRESS_PER_ROUND * controls[:, 2] * is_shut
    controls[:, 0] *= np.maximum(aperture - _SHUT, 0.0) / (_WIDE_OPEN - _SHUT)
    controls[:, 0] += np.maximum(opened_in_pauses, 0.0) * _in_pauses(speaking, track.fps)
    turn = track.head.rotation_deg + change.head.rotation_deg
    return replace(
        track,
        head=HeadTrack(turn, track.head.shift, track.head.scale),
        blink=np.clip(track.blink + change.blink * (1 - np.maximum(track.blink, 0)), _WIDEST, 1),
        gaze=np.clip(track.gaze + change.gaze, -1, 1),
        mouth=_add_controls(track.mouth, controls),
        brows=track.brows + change.brows,
        inner_brows=track.inner_brows + change.inner_brows,
        smile=track.smile + change.smile,
    )


def _in_pauses(speaking: Floats, fps: float) -> Floats64:
    """Return (T,) 1 where nothing is said for a while, 0 from shortly before speech to shortly after it."""
    reach = max(1, round(_LIPS_MEET_S * fps))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(speaking, reach, mode="edge"), 2 * reach + 1)
    return 1 - bell_average((around.max(axis=1) > 0.05).astype(np.float64), reach)


def _add_controls(mouth: Mouth, controls: Floats64) -> Mouth:
    """Return a mouth with controls (T, 5) added, in its own form."""
    added = MouthControls(controls)
    if isinstance(mouth, LipKeypoints):
        return LipKeypoints(mouth.offsets + keypoints_from_controls(added).offsets)
    return MouthControls(mouth.values + added.values)
