"""Measure pose, eyes, gaze, mouth and brows of tracked faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Floats
from ..motion.face_measurements import FaceMeasurements
from .geometry import mouth_aperture, mouth_width
from .ratios import eye_ratios
from .tracked import TrackedFace, TrackedSource

# Centre of rotation, IOD, canonical frame: top of the neck (docs/method/embedded_renderer.md, Turning).
_ROTATION_CENTRE = np.array([0.0, -0.35, -0.35])
_UPPER_LIP, _LOWER_LIP = (0, 13), (14, 17)  # (outer, inner), (inner, outer)
_CORNERS, _NOSE_BASE = (61, 291), 2
_EYES = ((468, 33, 133), (473, 263, 362))  # (iris, outer corner, inner corner)
BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
_STILL_FPS = 25.0


def to_canonical(face: TrackedFace) -> Floats:
    """Return the landmarks (478, 3) in the canonical frame (docs/method/conventions.md, Canonical frame), in IOD."""
    pose = face.pose
    points: Floats = (face.landmarks * np.array([1.0, -1.0, -1.0]) - pose.origin) @ pose.rotation / pose.iod
    return points


def measure_faces(source: TrackedSource) -> FaceMeasurements:
    """Measure the face in each frame of a source."""
    usual_iod = float(np.median([face.pose.iod for face in source.faces]))
    return measure(source.faces, source.footage.fps or _STILL_FPS, usual_iod)


def measure(faces: Sequence[TrackedFace], fps: float, usual_iod: float) -> FaceMeasurements:
    """Measure faces; their place and size are relative to `usual_iod`, px between the eyes."""
    iod = np.array([face.pose.iod for face in faces])
    positions = [face.pose.origin + face.pose.iod * face.pose.rotation @ _ROTATION_CENTRE for face in faces]
    points = [to_canonical(face) for face in faces]
    return FaceMeasurements(
        fps=fps,
        rotation_deg=np.stack([face.rotation_deg for face in faces]),
        place=np.stack(positions)[:, :2] * (1, -1) / usual_iod,
        size=iod / usual_iod,
        eye_ratios=eye_ratios(np.stack([face.landmarks for face in faces])),
        gaze=np.stack([gaze_offset(p) for p in points]),
        mouth=np.stack([_mouth(face, p) for face, p in zip(faces, points, strict=True)]),
        brow_height=np.stack([[p[list(brow), 1].mean() for brow in BROWS] for p in points]),
    )


def gaze_offset(points: Floats) -> Floats:
    """Return the gaze (2,) of canonical landmarks (478, 3): iris from the eye's centre in eye widths, mean of both."""
    sides = []
    for iris, outer, inner in _EYES:
        width = np.linalg.norm(points[outer] - points[inner])
        sides.append((points[iris, :2] - (points[outer, :2] + points[inner, :2]) / 2) / width)
    mean: Floats = np.mean(sides, axis=0)
    return mean


def _mouth(face: TrackedFace, points: Floats) -> tuple[float, float, float, float]:
    """Return aperture, width, thickness of both lips and height of the corners, in IOD."""
    y = points[:, 1]
    lips = y[_UPPER_LIP[0]] - y[_UPPER_LIP[1]] + y[_LOWER_LIP[0]] - y[_LOWER_LIP[1]]
    corners = y[list(_CORNERS)].mean() - y[_NOSE_BASE]
    aperture = mouth_aperture(face.landmarks, face.pose)
    return aperture, mouth_width(face.landmarks), float(lips), float(corners)
