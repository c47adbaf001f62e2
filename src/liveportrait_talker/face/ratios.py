"""How far eyes and lips are open, as LivePortrait's retargeting networks want to be told.

Source: spec liveportrait.md §11 (203 points), talker.md §9 (98, WFLW) and §6.1 (MediaPipe's 478).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..arrays import Floats, Floats64

_EPS = 1e-6  # px; a closed line instead of an eye must not divide by zero


class _Opening(NamedTuple):
    """Landmarks whose distances make a ratio: upper to lower over corner to corner."""

    upper: int
    lower: int
    corner: int
    other_corner: int


# Number of landmarks → the eyes at the picture's left and right.
_EYES = {
    98: (_Opening(62, 66, 60, 64), _Opening(70, 74, 68, 72)),
    203: (_Opening(6, 18, 0, 12), _Opening(30, 42, 24, 36)),
    478: (_Opening(159, 145, 33, 133), _Opening(386, 374, 362, 263)),
}
# The inner lips.
_LIPS = {203: _Opening(90, 102, 48, 66), 478: _Opening(13, 14, 61, 291)}


def eye_ratios(landmarks: Floats) -> Floats64:
    """(..., 2) lid distance over eye width, left and right in the picture: 0 shut, about 0.3–0.45 open.

    Args:
        landmarks: (..., n, 2 or more) px with n = 98, 203 or 478; only x and y are looked at.
    """
    return np.stack([_ratio(landmarks, eye) for eye in _layout(_EYES, landmarks)], axis=-1)


def lip_ratio(landmarks: Floats) -> Floats64:
    """(..., 1) inner lip distance over mouth width: 0 shut, to about 0.8.

    Args:
        landmarks: (..., n, 2 or more) px with n = 203 or 478; only x and y are looked at.
    """
    return _ratio(landmarks, _layout(_LIPS, landmarks))[..., None]


def _layout(layouts: dict[int, Any], landmarks: Floats) -> Any:
    count = np.shape(landmarks)[-2]
    if count not in layouts:
        raise ValueError(f"ratios are known for {', '.join(map(str, layouts))} landmarks, got {count}")
    return layouts[count]


def _ratio(landmarks: Floats, opening: _Opening) -> Floats64:
    points = np.asarray(landmarks, dtype=np.float64)[..., :2]
    height = np.linalg.norm(points[..., opening.upper, :] - points[..., opening.lower, :], axis=-1)
    width = np.linalg.norm(points[..., opening.corner, :] - points[..., opening.other_corner, :], axis=-1)
    ratio: Floats64 = height / (width + _EPS)
    return ratio
