"""Find the faces of an image, or follow them from frame to frame. How: docs/method/face_models.md."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ..arrays import Floats, Image
from .detector import LEFT_EYE, MOUTH, RIGHT_EYE, Detection, FaceDetector
from .geometry import interocular_distance
from .mesh import FaceMesh
from .regions import Region, face_region

LANDMARK_SOURCE = "face mesh 1"
"""Name and version of what finds the landmarks: to be counted up when the same image gives others."""
MAX_FACES = 20

_LARGEST_SIDE = 1280  # px: the mesh looks at 192 px of a face, so a larger image only costs time
_OPENCV_SIDE = 32_000  # px: OpenCV samples no larger image
_SMALL_FACE_MARGIN = 2.5  # side of the enlarged part, in sides of a small face's box
_ENLARGED_SIDE = 512  # px
_SURE = 0.85  # where no detection scores as much, the turned image is looked at
_SURER_BY = 0.1  # the image counts as turned where its best turned detection scores higher by this
_LEAST_TURNED = 0.75  # the lowest score of a turned face
_AGREEING = 0.5  # cosine of the angle between the directions from eyes to mouth of the key points and of the mesh
_SAME_PLACE = 0.25  # overlap of the regions of two detections of one face
_EYES, _LIPS = (33, 133, 362, 263), (13, 14)
_OUTER_EYE_CORNERS = (33, 263)


class FaceFinder:
    """Finds faces in images and follows them from frame to frame. Not safe to use in two threads at once."""

    def __init__(self) -> None:
        self._detector, self._mesh = FaceDetector("short"), FaceMesh()

    def find(self, image: Image) -> list[Floats]:
        """Faces of an (H, W, 3) uint8 RGB image as (478, 3) float32 image px, the largest first."""
        small, scale = _shrink(image)
        faces = [face for face in self._look(small) if _has_size(face)]
        return sorted((face * scale for face in faces), key=interocular_distance, reverse=True)

    def follow(self, image: Image, face: Floats) -> Floats | None:
        """The landmarks of a face in this frame, None where it is gone; `face` are those in the frame before."""
        small, scale = _shrink(image)
        found = self._mesh.find(small, _region(face / scale))
        return found * scale if found is not None and _has_size(found) else None

    def find_small(self, image: Image) -> list[Floats]:
        """A second look for faces that are small in the image: detected at long range, then enlarged."""
        detector = FaceDetector("full")
        image, scale = _shrink(image, _OPENCV_SIDE)
        found = detector.detect(image) or _detect_turned(detector, image)
        faces = []
        for detection in found:
            left, top, right, bottom = detection.box
            side = _SMALL_FACE_MARGIN * float(max(right - left, bottom - top))
            zoom = _ENLARGED_SIDE / side
            corner = np.array([(left + right) / 2 - side / 2, (top + bottom) / 2 - side / 2])
            enlarged = cv2.warpAffine(
                image,
                np.array([[zoom, 0, -zoom * corner[0]], [0, zoom, -zoom * corner[1]]]),
                (_ENLARGED_SIDE, _ENLARGED_SIDE),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for face in self.find(enlarged)[:1]:
                points = face / zoom
                points[:, :2] += corner
                faces.append(points.astype(np.float32) * scale)
        return sorted(faces, key=interocular_distance, reverse=True)

    def _look(self, image: Image) -> list[Floats]:
        """Faces of an image by itself, the surest detection first.

        A mesh always comes out upright, also on an upside-down face. So where the detector is not sure of any face, it
        looks at the image turned by 90°, 180° and 270°.
        """
        looked = [(d.score, self._mesh_of(image, d)) for d in self._detector.detect(image)]
        upright = _present(face for _, face in looked)
        best = max((score for score, face in looked if face is not None), default=0.0)
        if best < _SURE:
            turned = [d for d in _detect_turned(self._detector, image) if d.score >= _LEAST_TURNED]
            if turned and turned[0].score > best + _SURER_BY:
                lying = _present(self._turned_mesh_of(image, d) for d in turned)
                taken = [_region(face) for face in lying]
                free = [f for f in upright if not any(_region(f).overlap(r) > _SAME_PLACE for r in taken)]
                upright = lying + (free if best >= _LEAST_TURNED else [])
        return upright[:MAX_FACES]

    def _mesh_of(self, image: Image, detection: Detection) -> Floats | None:
        """Landmarks of a detection; None where there is no face or its mesh contradicts the detection's key points."""
        face = self._mesh.find(image, detection.region)
        return face if face is not None and _agree(face, detection) else None

    def _turned_mesh_of(self, image: Image, detection: Detection) -> Floats | None:
        """The same for a turned face: its key points are less exact, so the mesh is found again from its own region."""
        face = self._mesh_of(image, detection)
        return None if face is None else self._mesh.find(image, _region(face))


def _shrink(image: Image, largest_side: int = _LARGEST_SIDE) -> tuple[Image, Floats]:
    """The image, made smaller where it is larger, and (3,) the factors that bring landmarks back."""
    height, width = image.shape[:2]
    factor = largest_side / max(height, width)
    if factor >= 1 or min(height, width) * factor < 1:
        return image, np.ones(3, np.float32)
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    scale = np.array([width / small.shape[1], height / small.shape[0], width / small.shape[1]], np.float32)
    return small, scale


def _has_size(face: Floats) -> bool:
    """Whether the eyes lie apart: a mesh can come out flat on something that is no face."""
    return interocular_distance(face) > 1.0


def _present(faces: Iterable[Floats | None]) -> list[Floats]:
    return [face for face in faces if face is not None]


def _region(face: Floats) -> Region:
    """The region in which a face is looked for in the next frame."""
    xy = face[:, :2].astype(np.float64)
    return face_region(xy.min(axis=0), xy.max(axis=0), xy[_OUTER_EYE_CORNERS[0]], xy[_OUTER_EYE_CORNERS[1]])


def _detect_turned(detector: FaceDetector, image: Image) -> list[Detection]:
    """Detections in the image turned by 90°, 180° and 270°, in px of the image, the surest first, one a place."""
    height, width = image.shape[:2]
    found = [
        detection.rotate_back(quarter_turns, height, width)
        for quarter_turns in (1, 2, 3)
        for detection in detector.detect(np.ascontiguousarray(np.rot90(image, quarter_turns)))
    ]
    distinct: list[Detection] = []
    for detection in sorted(found, key=lambda d: d.score, reverse=True):
        if not any(_same_place(detection, other) for other in distinct):
            distinct.append(detection)
    return distinct


def _same_place(one: Detection, other: Detection) -> bool:
    return one.region.overlap(other.region) > _SAME_PLACE


def _agree(face: Floats, detection: Detection) -> bool:
    """Whether the way from the eyes to the mouth is about the same in the mesh and in the key points."""
    points = detection.keypoints
    expected = points[MOUTH] - (points[RIGHT_EYE] + points[LEFT_EYE]) / 2
    found = face[list(_LIPS), :2].mean(axis=0) - face[list(_EYES), :2].mean(axis=0)
    return bool(expected @ found > _AGREEING * np.linalg.norm(expected) * np.linalg.norm(found))
