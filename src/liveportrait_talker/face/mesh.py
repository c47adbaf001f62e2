"""Face mesh: 478 landmarks of a face (Attention Mesh, arXiv 2006.10962; docs/method/face_models.md, Mesh)."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats, Floats32, Image
from .geometry import LANDMARKS
from .networks import FaceNetwork, image_input
from .regions import Region, sample_region

_SIZE = 192  # px of the network's input
_CELL = 4  # px of the input per cell of the feature map
_MAP = _SIZE // _CELL
_SAMPLES = 16  # samples per side of a part
_PART_MARGIN = 1.5  # sampled area / bounding box of a part
_PRESENT = 0.5


@dataclass(frozen=True)
class Part:
    """A part of the face with a network of its own."""

    corners: tuple[int, int]
    """Landmarks that define its horizontal direction."""
    landmarks: tuple[int, ...]
    """Landmarks whose x and y the network refines."""


# From `subset_idxs` of the model's custom operations, in the order of the outputs.
# fmt: off
LIPS = Part((61, 291), (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87, 14,
    317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306,
    184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268,
    271, 272, 407,
))
RIGHT_EYE = Part((33, 133), (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112, 243,
    247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35,
    124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
))
LEFT_EYE = Part((362, 263), (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256,
    341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442,
    441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
    285, 417,
))
# fmt: on
EYELID = 16  # the first landmarks of an eye are on its lids
_RIGHT_IRIS, _LEFT_IRIS = slice(468, 473), slice(473, 478)


class FaceMesh:
    """Finds the landmarks of the face in a region of an image."""

    def __init__(self) -> None:
        self._mesh = FaceNetwork("face_mesh", ["image"], ["landmarks", "presence", "features"])
        self._lips = FaceNetwork("face_mesh_lips", ["features"], ["landmarks"])
        self._right_eye = FaceNetwork("face_mesh_right_eye", ["features"], ["landmarks", "iris"])
        self._left_eye = FaceNetwork("face_mesh_left_eye", ["features"], ["landmarks", "iris"])
        # OpenCV does not parallelise layers this small, so the parts run in threads.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="face-mesh")

    def find(self, image: Image, region: Region) -> Floats | None:
        """Return the landmarks (478, 3) float32, image px (smaller z is nearer), or None if `region` has no face."""
        pixels = sample_region(image, region, _SIZE, replicate=True)
        coarse, presence, features = self._mesh.run(image_input(pixels, scale=1 / 255))
        if presence.item() <= math.log(_PRESENT / (1 - _PRESENT)):
            return None
        points = np.zeros((LANDMARKS, 3))
        points[:468] = coarse.reshape(468, 3)
        grids = [_sample_grid(points, part) for part in (LIPS, RIGHT_EYE, LEFT_EYE)]
        lip_features, right_features, left_features = _sample_features(features, grids)
        right = self._threads.submit(self._right_eye.run, right_features)
        left = self._threads.submit(self._left_eye.run, left_features)
        (lips,) = self._lips.run(lip_features)
        lip_grid, right_grid, left_grid = grids
        points[list(LIPS.landmarks), :2] = lip_grid.to_input(lips)
        for part, iris, grid, (eye_points, iris_points) in (
            (RIGHT_EYE, _RIGHT_IRIS, right_grid, right.result()),
            (LEFT_EYE, _LEFT_IRIS, left_grid, left.result()),
        ):
            points[list(part.landmarks), :2] = grid.to_input(eye_points)
            points[iris, :2] = grid.to_input(iris_points)
            points[iris, 2] = points[list(part.landmarks[:EYELID]), 2].mean()
        return region.to_image(points / _SIZE).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _SampleGrid:
    """Sampling positions in the feature map: sample (i, j) lies at `matrix` · (i, j) + `shift`, in cells."""

    matrix: Floats
    """(2, 2)."""
    shift: Floats
    """(2,)."""

    def to_input(self, values: Floats) -> Floats:
        """Convert the output of a part's network, in quarters of a sample, to px (n, 2) of the mesh input."""
        return values.reshape(-1, 2) @ self.matrix.T + _CELL * self.shift


def _sample_grid(points: Floats, part: Part) -> _SampleGrid:
    """Return the grid over the bounding box of a part, with a margin, along the axes of the part."""
    cells = points[:, :2] / _CELL
    first, last = part.corners
    across = cells[last] - cells[first]
    angle = math.atan2(across[1], across[0])
    cos, sin = math.cos(angle), math.sin(angle)
    axes = np.array([[cos, -sin], [sin, cos]])
    aligned = cells[list(part.landmarks)] @ axes
    low, high = aligned.min(axis=0), aligned.max(axis=0)
    matrix = axes * (_PART_MARGIN * (high - low) / _SAMPLES)
    return _SampleGrid(matrix, axes @ ((low + high) / 2) - matrix @ (_SAMPLES / 2, _SAMPLES / 2))


_GRID = np.stack(np.meshgrid(np.arange(_SAMPLES) + 0.5, np.arange(_SAMPLES) + 0.5), axis=-1).reshape(-1, 2)
_NEIGHBOURS = (0, 1, _MAP, _MAP + 1)  # a cell, its right, lower and diagonal neighbour


def _sample_features(features: Floats, grids: list[_SampleGrid]) -> list[Floats32]:
    """Sample the features (1, C, 48, 48) bilinearly for each part: (1, C, 16, 16) float32, 0 outside."""
    at = np.concatenate([_GRID @ grid.matrix.T + grid.shift - 0.5 for grid in grids])
    inside = ((at >= 0) & (at <= _MAP - 1)).all(axis=1, keepdims=True)
    at = np.clip(at, 0, _MAP - 1)
    corner = np.minimum(at.astype(np.intp), _MAP - 2)
    right, down = (at - corner).T
    weights = inside * np.column_stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down])
    cells = (corner @ np.array((1, _MAP)))[:, None] + np.array(_NEIGHBOURS)
    by_cell = np.ascontiguousarray(features.reshape(-1, _MAP * _MAP).T)
    samples = weights[:, None].astype(np.float32) @ by_cell.take(cells, axis=0)
    by_part = samples.reshape(len(grids), _SAMPLES, _SAMPLES, -1).transpose(0, 3, 1, 2)
    return list(np.ascontiguousarray(by_part)[:, None])
