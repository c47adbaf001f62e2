"""The small linear map between the two mouth types: measured controls and LivePortrait's lip keypoints.

Derived, not measured: directions are those of LivePortrait's own editor (spec liveportrait.md §15.1, §15.2) on the
six lip keypoints, sizes come from geometry. Nobody has compared it with real weights yet.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats64
from .track import MOUTH_CONTROLS, LipKeypoints, MouthControls

Slider = dict[tuple[int, str], float]
"""(keypoint, axis) → what one unit of an editor's slider adds to it, canonical units; y points down."""

LIP_KEYPOINTS = (6, 12, 14, 17, 19, 20)
"""Of LivePortrait's 21, in the order of `LipKeypoints`: 19 is the lower lip, 20 the upper, 14 follows the corners."""

# The outer eye corners are 0.57 half-widths of the crop apart (0.53–0.62 on frontal portraits), at scale 1.3.
_IOD = 0.44  # canonical units

_AAA: Slider = {(19, "y"): 0.001, (19, "z"): 0.0001, (17, "y"): -0.0001}
_GRIN: Slider = {(20, "z"): -0.001, (20, "y"): -0.001, (14, "y"): -0.001}
_PURSING: Slider = {(14, "y"): 0.001, (17, "z"): -0.0005}
_SMILE: Slider = {(20, "y"): -0.01, (14, "y"): -0.02, (17, "y"): 0.0065, (17, "z"): 0.003}
_LIPS_TOGETHER: Slider = {(19, "y"): -0.5, (20, "y"): 0.5}  # no slider presses them: each goes half the way

# What 1 IOD of each control is.
_SLIDERS: dict[str, tuple[float, Slider]] = {
    "open": (290, _AAA),  # two thirds of an opening are the lower lip's: 0.29 canonical units
    "spread": (15 / 0.06, _GRIN),  # here and below, a slider's end is what a mouth does at its most
    "round": (15 / 0.1, _PURSING),
    "press": (_IOD, _LIPS_TOGETHER),
    "corner_up": (1.3 / 0.1, _SMILE),
}


def _basis() -> Floats64:
    """(5, 18): the six keypoints' x, y, z, flat, for 1 IOD of each control."""
    basis: Floats64 = np.zeros((len(MOUTH_CONTROLS), len(LIP_KEYPOINTS), 3))
    for row, control in zip(basis, MOUTH_CONTROLS, strict=True):
        size, slider = _SLIDERS[control]
        for (keypoint, axis), step in slider.items():
            row[LIP_KEYPOINTS.index(keypoint), "xyz".index(axis)] = size * step
    return basis.reshape(len(MOUTH_CONTROLS), -1)


_BASIS = _basis()
_INVERSE: Floats64 = np.linalg.pinv(_BASIS).astype(np.float64)  # (18, 5)


def lip_keypoints(controls: MouthControls) -> LipKeypoints:
    """The lip keypoints that do what `controls` say; both are changes from the same mouth."""
    return LipKeypoints((controls.values @ _BASIS).reshape(-1, len(LIP_KEYPOINTS), 3))


def mouth_controls(lips: LipKeypoints) -> MouthControls:
    """The controls that come nearest to `lips`: the inverse of `lip_keypoints`, blind to what no control does."""
    return MouthControls(lips.offsets.reshape(-1, len(_INVERSE)) @ _INVERSE)
