"""Face detection: boxes and six keypoints (BlazeFace, arXiv 1907.05047; docs/method/face_models.md, Detector)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..arrays import Floats, Image
from .networks import FaceNetwork, image_input
from .regions import Region, face_region, sample_region

RIGHT_EYE, LEFT_EYE, NOSE, MOUTH = 0, 1, 2, 3
"""Rows of `Detection.keypoints`; right and left are the subject's."""

_SAME_FACE = 0.3  # boxes with more overlap are averaged
_HIGHEST_LOGIT = 100.0


@dataclass(frozen=True, eq=False)
class Detection:
    """A detected face."""

    score: float
    """0…1."""
    box: Floats
    """(4,) float64: left, top, right, bottom, image px; may exceed the image."""
    keypoints: Floats
    """(6, 2) float64: right eye, left eye, nose tip, mouth, right and left ear (the subject's), image px."""

    @property
    def region(self) -> Region:
        """The region for the face mesh."""
        return face_region(self.box[:2], self.box[2:], self.keypoints[RIGHT_EYE], self.keypoints[LEFT_EYE])

    def rotate_back(self, quarter_turns: int, height: int, width: int) -> Detection:
        """Convert from px of `np.rot90(image, quarter_turns)` to px of an image (height, width)."""
        corners: Floats = self.box.reshape(2, 2)
        keypoints = self.keypoints
        for turns_left in reversed(range(quarter_turns)):
            right = height if turns_left % 2 else width
            corners, keypoints = (np.column_stack([right - p[:, 1], p[:, 0]]) for p in (corners, keypoints))
        return Detection(self.score, np.concatenate([corners.min(axis=0), corners.max(axis=0)]), keypoints)


class FaceDetector:
    """Face detector.

    Args:
        distance: "short" for faces of at least about 1/6 of the image's longer side, "full" for smaller ones, too.
    """

    def __init__(self, distance: Literal["short", "full"]) -> None:
        self._network = FaceNetwork(f"face_detection_{distance}_range", ["image"], ["boxes", "scores"])
        self._size, self._anchors, self._threshold = {
            "short": (128, np.concatenate([_anchors(16, 2), _anchors(8, 6)]), 0.5),
            "full": (192, _anchors(48, 1), 0.6),
        }[distance]

    def detect(self, image: Image) -> list[Detection]:
        """Return the faces in an (H, W, 3) uint8 RGB image, by descending score."""
        height, width = image.shape[:2]
        side = max(height, width)
        square = Region(width / 2, height / 2, side)
        pixels = sample_region(image, square, self._size, replicate=False)
        values, logits = self._network.run(image_input(pixels, scale=2 / 255, mean=127.5))
        scores: Floats = 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -_HIGHEST_LOGIT, _HIGHEST_LOGIT)))
        points = values[0].reshape(-1, 8, 2).astype(np.float64) / self._size
        points[:, 0] += self._anchors  # centre of the box; row 1 is (width, height)
        points[:, 2:] += self._anchors[:, None]
        accepted = (scores >= self._threshold) & (points[:, 1] >= 0).all(axis=1)
        scores, points = scores[accepted], points[accepted]
        centre, half = points[:, 0].copy(), points[:, 1] / 2
        points[:, 0], points[:, 1] = centre - half, centre + half
        corner = np.array([square.x - side / 2, square.y - side / 2])
        return [
            Detection(score, box.ravel(), keypoints)
            for score, found in _merge(scores, points)
            for box, keypoints in [np.split(found * side + corner, [2])]
        ]


def _anchors(cells: int, times: int) -> Floats:
    """Return cell centres of a grid (cells² · times, 2) float64, each repeated `times` times, in image sides."""
    centres = (np.arange(cells) + 0.5) / cells
    grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    return np.repeat(grid, times, axis=0)


def _merge(scores: Floats, points: Floats) -> list[tuple[float, Floats]]:
    """Apply weighted non-maximum suppression: average each best box with those that overlap it, weighted by score.

    Args:
        scores: (n,).
        points: (n, 8, 2); rows 0 and 1 are corners of the box.

    Returns:
        (best score, averaged points), by descending score.
    """
    order = np.argsort(-scores, kind="stable")
    scores, points = scores[order], points[order]
    merged = []
    while len(scores):
        same = _overlap(points[0], points) > _SAME_FACE
        same[0] = True
        weights = scores[same]
        mean = np.tensordot(weights, points[same], axes=1) / weights.sum()
        merged.append((float(scores[0]), mean))
        scores, points = scores[~same], points[~same]
    return merged


def _overlap(one: Floats, others: Floats) -> Floats:
    """Return the intersection over union (n,) of one box with others; rows 0 and 1 are corners."""
    low, high = np.maximum(one[0], others[:, 0]), np.minimum(one[1], others[:, 1])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = (one[1] - one[0]).prod() + (others[:, 1] - others[:, 0]).prod(axis=1) - shared
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result
