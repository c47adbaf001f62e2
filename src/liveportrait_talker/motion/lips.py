"""Linear map between mouth controls and LivePortrait's lip keypoints.

The directions are those of LivePortrait's editor sliders (docs/method/liveportrait.md, Expression editor), the sizes
follow from geometry (docs/method/conventions.md, Lip keypoints). The map was not fitted to released weights.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64
from .track import MOUTH_CONTROLS, LipKeypoints, MouthControls

Slider = dict[tuple[int, str], float]
"""(keypoint, axis) → offset per unit of an editor slider, in canonical units; y points down."""

LIP_KEYPOINTS = (6, 12, 14, 17, 19, 20)
"""Numbers of the lip keypoints, in the order of `LipKeypoints`: 19 lower lip, 20 upper lip, 14 mouth corners."""

# The outer eye corners are 0.57 crop half-widths apart (0.53–0.62 on frontal portraits), at scale 1.3.
_IOD = 0.44  # canonical units

_AAA: Slider = {(19, "y"): 0.001, (19, "z"): 0.0001, (17, "y"): -0.0001}
_GRIN: Slider = {(20, "z"): -0.001, (20, "y"): -0.001, (14, "y"): -0.001}
_PURSING: Slider = {(14, "y"): 0.001, (17, "z"): -0.0005}
_SMILE: Slider = {(20, "y"): -0.01, (14, "y"): -0.02, (17, "y"): 0.0065, (17, "z"): 0.003}
_LIPS_TOGETHER: Slider = {(19, "y"): -0.5, (20, "y"): 0.5}  # no slider presses lips: each moves half the distance

# Control → (slider units per IOD, slider).
_SLIDERS: dict[str, tuple[float, Slider]] = {
    "open": (290, _AAA),  # the lower lip makes two thirds of an opening: 0.29 canonical units
    "spread": (15 / 0.06, _GRIN),  # here and below, the end of the slider is the most that a mouth does
    "round": (15 / 0.1, _PURSING),
    "press": (_IOD, _LIPS_TOGETHER),
    "corner_up": (1.3 / 0.1, _SMILE),
}


def _basis() -> Floats64:
    """Return the keypoint offsets (5, 18), flattened, for 1 IOD of each control."""
    basis: Floats64 = np.zeros((len(MOUTH_CONTROLS), len(LIP_KEYPOINTS), 3))
    for row, control in zip(basis, MOUTH_CONTROLS, strict=True):
        size, slider = _SLIDERS[control]
        for (keypoint, axis), step in slider.items():
            row[LIP_KEYPOINTS.index(keypoint), "xyz".index(axis)] = size * step
    return basis.reshape(len(MOUTH_CONTROLS), -1)


_BASIS = _basis()
_LOWER, _UPPER = (3 * LIP_KEYPOINTS.index(keypoint) + 1 for keypoint in (19, 20))
_INVERSE: Floats64 = np.linalg.pinv(_BASIS).astype(np.float64)  # (18, 5)


def press_for_spread(spread: Floats) -> Floats64:
    """Return the control `press` (T,) with which the lip keypoints are no further apart after `spread` (T,)."""
    gap = dict(zip(MOUTH_CONTROLS, _BASIS[:, _LOWER] - _BASIS[:, _UPPER], strict=True))
    return np.asarray(-gap["spread"] / gap["press"] * spread)


def keypoints_from_controls(controls: MouthControls) -> LipKeypoints:
    """Convert mouth controls to lip keypoints; both are changes from the same mouth."""
    return LipKeypoints((controls.values @ _BASIS).reshape(-1, len(LIP_KEYPOINTS), 3))


def controls_from_keypoints(lips: LipKeypoints) -> MouthControls:
    """Convert lip keypoints to mouth controls by least squares, dropping motion that no control makes."""
    return MouthControls(lips.offsets.reshape(-1, len(_INVERSE)) @ _INVERSE)
