"""Find faces in images and follow them from frame to frame (docs/method/face_models.md)."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Floats, Image
from .detector import LEFT_EYE, MOUTH, RIGHT_EYE, Detection, FaceDetector
from .geometry import interocular_distance
from .mesh import FaceMesh
from .regions import Region, face_region

LANDMARK_SOURCE = "face mesh 1"
"""Name and version of the landmark model; increment it when landmarks of the same image change."""
MAX_FACES = 20

_MAX_SIDE = 1280  # px; the mesh input is 192 px per face, so larger images only cost time
_OPENCV_MAX_SIDE = 32_000  # px; OpenCV cannot sample larger images
_SMALL_FACE_MARGIN = 2.5  # side of the enlarged part / box of a small face
_ENLARGED_SIDE = 512  # px
_CONFIDENT = 0.85  # if no score reaches this, the rotated image is searched
_ROTATED_MARGIN = 0.1  # the image counts as rotated if the best rotated detection scores higher by this
_MIN_ROTATED_SCORE = 0.75
_MIN_COSINE = 0.5  # of the angle between the eyes-to-mouth directions of keypoints and mesh
_SAME_PLACE = 0.25  # overlap of the regions of two detections of the same face
_EYES, _LIPS = (33, 133, 362, 263), (13, 14)
_OUTER_EYE_CORNERS = (33, 263)


class FaceFinder:
    """Finds faces in images and follows them from frame to frame. Not thread-safe."""

    def __init__(self) -> None:
        self._detector, self._mesh = FaceDetector("short"), FaceMesh()

    def find(self, image: Image) -> list[Floats]:
        """Return the faces in an (H, W, 3) uint8 RGB image, largest first: landmarks (478, 3) float32, image px."""
        small, scale = _shrink(image)
        faces = [face for face in self._find_in(small) if _has_size(face)]
        return sorted((face * scale for face in faces), key=interocular_distance, reverse=True)

    def follow(self, image: Image, face: Floats) -> Floats | None:
        """Return the landmarks of a face, given those in the previous frame; None if the face is gone."""
        small, scale = _shrink(image)
        found = self._mesh.find(small, _region(face / scale))
        return found * scale if found is not None and _has_size(found) else None

    def find_small(self, image: Image) -> list[Floats]:
        """Find small faces: detect at full range, then enlarge. Returns landmarks as `find`."""
        detector = FaceDetector("full")
        image, scale = _shrink(image, _OPENCV_MAX_SIDE)
        found = detector.detect(image) or _detect_rotated(detector, image)
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

    def _find_in(self, image: Image) -> list[Floats]:
        """Find faces without scaling the image, by descending score.

        The mesh is always upright in its region, even on an upside-down face. Therefore, if the detector is not
        confident, it also searches the image rotated by 90°, 180° and 270°.
        """
        meshes = [(d.score, self._find_mesh(image, d)) for d in self._detector.detect(image)]
        faces = [face for _, face in meshes if face is not None]
        best = max((score for score, face in meshes if face is not None), default=0.0)
        if best < _CONFIDENT:
            detections = [d for d in _detect_rotated(self._detector, image) if d.score >= _MIN_ROTATED_SCORE]
            if detections and detections[0].score > best + _ROTATED_MARGIN:
                found = [self._find_rotated_mesh(image, d) for d in detections]
                rotated = [face for face in found if face is not None]
                regions = [_region(face) for face in rotated]
                others = [f for f in faces if not any(_region(f).overlap(r) > _SAME_PLACE for r in regions)]
                faces = rotated + (others if best >= _MIN_ROTATED_SCORE else [])
        return faces[:MAX_FACES]

    def _find_mesh(self, image: Image, detection: Detection) -> Floats | None:
        """Return the landmarks of a detection; None if there is no face or they contradict its keypoints."""
        face = self._mesh.find(image, detection.region)
        return face if face is not None and _agree(face, detection) else None

    def _find_rotated_mesh(self, image: Image, detection: Detection) -> Floats | None:
        """Return the landmarks of a rotated face: found twice, as the keypoints of the detection are inexact."""
        face = self._find_mesh(image, detection)
        return None if face is None else self._mesh.find(image, _region(face))


def _shrink(image: Image, max_side: int = _MAX_SIDE) -> tuple[Image, Floats]:
    """Reduce an image to `max_side`; return it and the factors (3,) from its landmarks to those of the original."""
    height, width = image.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1 or min(height, width) * factor < 1:
        return image, np.ones(3, np.float32)
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    scale = np.array([width / small.shape[1], height / small.shape[0], width / small.shape[1]], np.float32)
    return small, scale


def _has_size(face: Floats) -> bool:
    """Return whether the eyes are apart: the mesh of a false detection can be degenerate."""
    return interocular_distance(face) > 1.0


def _region(face: Floats) -> Region:
    """Return the region in which to find a face in the next frame."""
    xy = face[:, :2].astype(np.float64)
    return face_region(xy.min(axis=0), xy.max(axis=0), xy[_OUTER_EYE_CORNERS[0]], xy[_OUTER_EYE_CORNERS[1]])


def _detect_rotated(detector: FaceDetector, image: Image) -> list[Detection]:
    """Detect faces in the image rotated by 90°, 180° and 270°; px of the image, by descending score, no duplicates."""
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
    """Return whether mesh and keypoints have about the same direction from eyes to mouth."""
    points = detection.keypoints
    expected = points[MOUTH] - (points[RIGHT_EYE] + points[LEFT_EYE]) / 2
    found = face[list(_LIPS), :2].mean(axis=0) - face[list(_EYES), :2].mean(axis=0)
    return bool(expected @ found > _MIN_COSINE * np.linalg.norm(expected) * np.linalg.norm(found))
