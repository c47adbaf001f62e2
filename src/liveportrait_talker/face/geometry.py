"""Head pose and mouth measurements from landmarks.

Angles: positive yaw turns the nose to the image's right, positive pitch up, positive roll counter-clockwise
(docs/method/conventions.md, Head angles). Lengths are in inter-ocular distances (IOD: outer eye corners, in 3-D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Floats
from ..motion.rotation import matrix_from_degrees

LANDMARKS = 478
"""Number of landmarks: 468 of the face, 5 of each iris."""

# MediaPipe's canonical face model (Apache-2.0, © The MediaPipe Authors), cm: the stable landmarks of it. Pairs are
# (right side of the subject, left side).
_MIDDLE = {
    10: (8.261778, 4.481535),
    151: (6.545390, 5.027311),
    9: (4.885979, 5.385258),
    8: (4.019042, 5.284764),
    168: (3.271027, 5.236015),
    6: (2.473255, 5.788627),
    197: (1.728369, 6.316750),
    195: (1.059413, 6.774605),
    5: (0.365669, 7.242870),
    4: (-0.463170, 7.586580),
}
_PAIRS = {
    (33, 263): (4.445859, 2.663991, 3.173422),
    (133, 362): (1.856432, 2.585245, 3.757904),
    (54, 284): (6.279331, 6.615427, 1.425850),
    (67, 297): (3.523964, 8.005976, 3.729163),
    (109, 338): (1.891399, 8.236377, 4.274997),
    (103, 332): (5.133204, 7.485602, 2.660442),
    (21, 251): (7.087960, 5.434801, 0.099620),
    (162, 389): (7.555811, 4.106811, -0.991917),
}
_CANONICAL = {i: (0.0, y, z) for i, (y, z) in _MIDDLE.items()}
for (_right, _left), (_x, _y, _z) in _PAIRS.items():
    _CANONICAL[_right] = (-_x, _y, _z)
    _CANONICAL[_left] = (_x, _y, _z)
STABLE = sorted(_CANONICAL)
"""The landmarks that speech and blinks move least."""
_STABLE_CM = np.array([_CANONICAL[i] for i in STABLE])

_INNER_LIP_PAIRS = ((13, 14), (82, 87), (312, 317))


@dataclass(frozen=True, eq=False)
class HeadPose:
    """Pose of a head: canonical frame (x right, y up, z to the viewer; unit IOD) → image."""

    rotation: Floats
    """(3, 3) canonical → image axes (x right, y up, z to the viewer)."""
    origin: Floats
    """(3,) origin of the canonical frame in px (x right, y up, z to the viewer)."""
    iod: float
    """Inter-ocular distance, px, in 3-D."""
    rotation_deg: Floats
    """(3,) pitch, yaw, roll in degrees."""


def rotation_matrix(rotation_deg: Floats) -> Floats:
    """Return the rotation (…, 3, 3) Rz(roll) Ry(yaw) Rx(−pitch) for pitch, yaw, roll (…, 3) in degrees."""
    return np.swapaxes(matrix_from_degrees(np.asarray(rotation_deg, np.float64) * (-1.0, 1.0, 1.0)), -1, -2)


def rotation_degrees(rotation: Floats) -> Floats:
    """Return pitch, yaw, roll (3,) in degrees of a rotation (3, 3); the inverse of `rotation_matrix`."""
    pitch = -np.arctan2(rotation[2, 1], rotation[2, 2])
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1.0, 1.0))
    return np.degrees([pitch, yaw, np.arctan2(rotation[1, 0], rotation[0, 0])])


def _to_y_up(landmarks: Floats) -> Floats:
    """Convert (x right, y down, z away) to (x right, y up, z to the viewer), float64."""
    return np.asarray(landmarks, np.float64) * (1.0, -1.0, -1.0)


def head_pose(landmarks: Floats) -> HeadPose:
    """Fit the pose of a face with landmarks (478, 3), image px: a similarity to the canonical face."""
    points = _to_y_up(landmarks)
    _, rotation, origin = fit_similarity(_STABLE_CM, points[STABLE])
    return HeadPose(
        rotation=rotation,
        origin=origin,
        iod=interocular_distance(landmarks),
        rotation_deg=rotation_degrees(rotation),
    )


def fit_similarity(source: Floats, target: Floats) -> tuple[float, Floats, Floats]:
    """Return scale, rotation (3, 3) and shift (3,) that bring points (n, 3) closest to others (Umeyama 1991)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    u, d, vt = np.linalg.svd(b.T @ a)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(flip) @ vt
    scale = float((d * flip).sum() / (a**2).sum())
    return scale, rotation, target_mean - scale * rotation @ source_mean


def interocular_distance(landmarks: Floats) -> float:
    """Return the distance of the outer eye corners in 3-D, px."""
    return float(np.linalg.norm(np.asarray(landmarks[33], np.float64) - landmarks[263]))


def mouth_aperture(landmarks: Floats, pose: HeadPose | None = None) -> float:
    """Return the opening of the inner lips along the head's y axis, in IOD: about 0 closed, 0.05–0.25 in speech."""
    pose = pose or head_pose(landmarks)
    points, up = _to_y_up(landmarks), pose.rotation[:, 1]
    return float(np.mean([(points[a] - points[b]) @ up for a, b in _INNER_LIP_PAIRS])) / pose.iod


def mouth_width(landmarks: Floats) -> float:
    """Return the distance of the mouth corners in IOD."""
    points = np.asarray(landmarks, np.float64)
    return float(np.linalg.norm(points[61] - points[291])) / interocular_distance(landmarks)
