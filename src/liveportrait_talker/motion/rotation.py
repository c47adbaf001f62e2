"""Head angles as matrices, and the two sign conventions that meet in this project.

LivePortrait turns key points by `points @ R` with `R = (Rz(roll) Ry(yaw) Rx(pitch))ᵀ` (spec talker.md §10), in a
frame with x to the picture's right, y down and z away from the viewer. The meter, and with it every
`MotionTrack`, has y up and z towards the viewer and turns by `Rz(roll) Ry(yaw) Rx(-pitch)`.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64


def matrix_from_degrees(rotation_deg: Floats) -> Floats64:
    """LivePortrait's rotation matrices (..., 3, 3) from its pitch, yaw, roll (..., 3) in degrees."""
    radians = np.radians(np.asarray(rotation_deg, dtype=np.float64))
    (sp, sy, sr), (cp, cy, cr) = (np.moveaxis(f(radians), -1, 0) for f in (np.sin, np.cos))
    rows = (
        (cr * cy, sr * cy, -sy),
        (cr * sy * sp - sr * cp, sr * sy * sp + cr * cp, cy * sp),
        (cr * sy * cp + sr * sp, sr * sy * cp - cr * sp, cy * cp),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def degrees_from_matrix(matrix: Floats) -> Floats64:
    """Pitch, yaw, roll (..., 3) in degrees, |yaw| ≤ 90, of LivePortrait's rotation matrices (..., 3, 3)."""
    m = np.asarray(matrix, dtype=np.float64)
    pitch = np.arctan2(m[..., 1, 2], m[..., 2, 2])
    # From two entries rather than an arcsine of one, which is blunt near 90° and undefined past rounding.
    yaw = np.arctan2(-m[..., 0, 2], np.hypot(m[..., 1, 2], m[..., 2, 2]))
    roll = np.arctan2(m[..., 0, 1], m[..., 0, 0])
    degrees: Floats64 = np.degrees(np.stack([pitch, yaw, roll], axis=-1))
    return degrees


def swap_convention(rotation_deg: Floats) -> Floats64:
    """Angles (..., 3) of the meter as LivePortrait's, or the other way about: its own inverse.

    The frames differ by half a turn about x, diag(1, −1, −1). Carried through the three factors, that negates
    yaw and roll and leaves pitch alone; the meter's own −pitch negates the third. The order of the factors is
    the same, so this is exact for large angles too.
    """
    return -np.asarray(rotation_deg, dtype=np.float64)
