"""From a clip to `FaceMeasurements`: the landmarks put into the head's own frame, and what is measured there."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats
from ..motion.face_measurements import FaceMeasurements
from .geometry import mouth_aperture, mouth_width
from .ratios import eye_ratios
from .tracked import TrackedFace, TrackedSource

_TURNS_ABOUT = np.array([0.0, -0.35, -0.35])  # IOD, canonical: the skull above the neck (spec/embedded.md §1)
_UPPER_LIP, _LOWER_LIP = (0, 13), (14, 17)  # outer, inner; inner, outer
_CORNERS, _NOSE_BASE = (61, 291), 2
_EYES = ((468, 33, 133), (473, 263, 362))  # iris, outer and inner corner
_BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))
_STILL_FPS = 25.0


def canonical(face: TrackedFace) -> Floats:
    """(478, 3) landmarks in the head's own frame: x to the picture's right, y up, z to the viewer, unit IOD."""
    pose = face.pose
    points: Floats = (face.landmarks * np.array([1.0, -1.0, -1.0]) - pose.origin) @ pose.rotation / pose.iod
    return points


def face_readings(source: TrackedSource) -> FaceMeasurements:
    """What the face does in each frame of a clip, or in a picture."""
    faces = source.faces
    iod = np.array([face.pose.iod for face in faces])
    usual = float(np.median(iod))
    places = [face.pose.origin + face.pose.iod * face.pose.rotation @ _TURNS_ABOUT for face in faces]
    points = [canonical(face) for face in faces]
    return FaceMeasurements(
        fps=source.footage.fps or _STILL_FPS,
        rotation_deg=np.stack([face.rotation_deg for face in faces]),
        place=np.stack(places)[:, :2] * (1, -1) / usual,
        size=iod / usual,
        eye_ratios=eye_ratios(np.stack([face.landmarks for face in faces])),
        gaze=np.stack([_gaze(p) for p in points]),
        mouth=np.stack([_mouth(face, p) for face, p in zip(faces, points, strict=True)]),
        brow_height=np.stack([[p[list(brow), 1].mean() for brow in _BROWS] for p in points]),
    )


def _gaze(points: Floats) -> Floats:
    """(2,) of the iris in canonical points, mean of both eyes."""
    sides = []
    for iris, outer, inner in _EYES:
        width = np.linalg.norm(points[outer] - points[inner])
        sides.append((points[iris, :2] - (points[outer, :2] + points[inner, :2]) / 2) / width)
    mean: Floats = np.mean(sides, axis=0)
    return mean


def _mouth(face: TrackedFace, points: Floats) -> tuple[float, float, float, float]:
    y = points[:, 1]
    lips = y[_UPPER_LIP[0]] - y[_UPPER_LIP[1]] + y[_LOWER_LIP[0]] - y[_LOWER_LIP[1]]
    corners = y[list(_CORNERS)].mean() - y[_NOSE_BASE]
    aperture = mouth_aperture(face.landmarks, face.pose)
    return aperture, mouth_width(face.landmarks), float(lips), float(corners)
