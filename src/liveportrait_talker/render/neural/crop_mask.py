"""Feathered mask of a generated face (docs/method/liveportrait.md, Paste-back)."""

from __future__ import annotations

import numpy as np

from ...arrays import Image

_SIZE = 512
_RAMP = 16  # px from full weight to the edge


def crop_mask() -> Image:
    """Return the weight (512, 512) uint8: 255 inside, a ramp of 16 px to the edge, round corners.

    Equals LivePortrait's mask file, including its asymmetry: 0 in the first row and column, 15 in the last.
    """
    at = np.arange(_SIZE)
    beyond = np.maximum(np.maximum(_RAMP - at, 0), at - (_SIZE - _RAMP))
    distance = np.hypot(beyond[:, None], beyond)
    mask: Image = np.floor(255 * np.maximum(0, 1 - distance / _RAMP)).astype(np.uint8)
    return mask
