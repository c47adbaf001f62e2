"""Detect covered mouths."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Image
from .tracked import TrackedFace

_OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
_CHEEKS = (205, 425)
_CHEEK_RADIUS = 0.06  # IOD
_DARK = 8.0  # L*: darker colours cannot be distinguished
_MIN_DIFFERENCE = 4.0  # ΔE (CIE76); lips and cheeks differ by at least 7, in old films too


def is_mouth_covered(image: Image, face: TrackedFace) -> bool:
    """Return whether lips and cheeks in an (H, W, 3) uint8 image have the same colour, as under a mask or a hand."""
    points = face.landmarks[:, :2]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(points[list(_OUTER_LIPS)]).astype(np.int32)], 1)
    cv2.fillPoly(mask, [np.rint(points[list(_INNER_LIPS)]).astype(np.int32)], 0)
    radius = max(2, round(_CHEEK_RADIUS * face.pose.iod))
    cheeks = np.zeros_like(mask)
    for x, y in np.rint(points[list(_CHEEKS)]).astype(int):
        cv2.circle(cheeks, (int(x), int(y)), radius, 1, -1)
    if not mask.any() or not cheeks.any():
        return False
    lips, skin = (
        np.median(cv2.cvtColor(image[area > 0][None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0], axis=0)
        for area in (mask, cheeks)
    )
    return bool(skin[0] > _DARK and np.linalg.norm(lips - skin) < _MIN_DIFFERENCE)
