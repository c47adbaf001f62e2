"""Rotation matrices of head angles, and the conversion between the two sign conventions.

LivePortrait turns keypoints by `points @ R` with `R = (Rz(roll) Ry(yaw) Rx(pitch))ᵀ`, in a frame with x to the image's
right, y down and z away from the viewer. A `MotionTrack` has y up and z towards the viewer and turns by
`Rz(roll) Ry(yaw) Rx(-pitch)`. Source: docs/method/conventions.md, Head angles.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64

MAX_TURN_DEG = np.array([7.5, 9.0, 7.5])
"""Pitch, yaw, roll that look right on any portrait, degrees."""


def matrix_from_degrees(rotation_deg: Floats) -> Floats64:
    """Return LivePortrait's rotation matrices (..., 3, 3) for its pitch, yaw, roll (..., 3) in degrees."""
    radians = np.radians(np.asarray(rotation_deg, dtype=np.float64))
    (sp, sy, sr), (cp, cy, cr) = (np.moveaxis(f(radians), -1, 0) for f in (np.sin, np.cos))
    rows = (
        (cr * cy, sr * cy, -sy),
        (cr * sy * sp - sr * cp, sr * sy * sp + cr * cp, cy * sp),
        (cr * sy * cp + sr * sp, sr * sy * cp - cr * sp, cy * cp),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def swap_convention(rotation_deg: Floats) -> Floats64:
    """Convert angles (..., 3) of a `MotionTrack` to LivePortrait's convention or back: all three are negated.

    The frames differ by half a turn about x, diag(1, −1, −1), which negates yaw and roll; −pitch of the `MotionTrack`
    negates pitch. The order of the factors is the same, so the conversion is exact at any angle.
    """
    return -np.asarray(rotation_deg, dtype=np.float64)
