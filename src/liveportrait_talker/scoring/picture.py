"""Steadiness of the picture against a reference: background, sharpness and identity of the face.

Source: docs/method/measurements.md, Image.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Flags, Floats, Floats32, Floats64, Image
from ..face.geometry import LANDMARKS, fit_similarity, head_pose, interocular_distance
from ..face.measurements import BROWS
from ..face.mesh import EYELID, LEFT_EYE, LIPS, RIGHT_EYE
from ..face.tracked import TrackedFace

_FACE_MARGIN = 1.6  # scale of the hull of the landmarks that is not background
_BORDER = 0.04  # of the shorter side
_SHARPNESS_IOD = 200.0  # px
_PATCH = 128  # px: side of the aligned upper face
_MESH = LANDMARKS - 10  # without the irises
_LIDS = (*RIGHT_EYE.landmarks[:EYELID], *LEFT_EYE.landmarks[:EYELID])
_LIP_CONTOURS = LIPS.landmarks[:40]
_EYE_CORNERS = ((33, 133), (263, 362))
_NEAR_EYE = 0.12  # IOD: skin that moves with blinks
_EYE_HALF_WIDTH, _EYE_HEIGHT = 0.26, 0.16  # IOD: columns over an eye, down to below it, that are not compared


class PictureMeter:
    """Compares frames with a reference frame of the same size, one after the other.

    Args:
        reference: (H, W, 3) RGB.
        face: the face in it; None where there is none, and only the border is compared.
        shape_face: the same face in a larger picture, whose landmarks are more exact; None: `face`.
    """

    def __init__(self, reference: Image, face: TrackedFace | None, shape_face: TrackedFace | None = None) -> None:
        self._reference, self._face = reference, face
        height, width = reference.shape[:2]
        border = max(1, round(_BORDER * min(height, width)))
        self._edge = np.ones((height, width), bool)
        self._edge[border:-border, border:-border] = False
        if face is not None:
            self._shape = (shape_face or face).landmarks.astype(np.float64)
            self._upper = upper_face(self._shape)
            self._sharpness = face_sharpness(reference, face.landmarks)
            self._area = face_area(face.landmarks, reference)
            self._patch = _UpperFace(face.landmarks, self._upper)
            self._pixels = self._patch.sample(reference, face.landmarks)

    def compare(self, image: Image, face: TrackedFace | None) -> dict[str, float]:
        """Return the figures of one frame (H, W, 3); those of the face are missing where there is none."""
        row = {"border_psnr_db": psnr_db(image, self._reference, self._edge)}
        if face is None or self._face is None:
            return row
        points = face.landmarks
        row["bg_psnr_db"] = psnr_db(image, self._reference, ~(self._area | face_area(points, image)))
        row["identity_pct"] = _shape_distance(self._shape, points.astype(np.float64), self._upper)
        row["sharpness"] = face_sharpness(image, points) / max(self._sharpness, 1e-6)
        pixels = self._patch.sample(image, points)
        if pixels is not None and self._pixels is not None:
            row["face_ncc"] = float(pixels @ self._pixels)
        return row


def psnr_db(image: Image, reference: Image, where: Flags) -> float:
    """Return the peak signal-to-noise ratio, dB, of the pixels in the mask `where` (H, W); NaN for fewer than 100."""
    count = int(np.count_nonzero(where))
    if count < 100:
        return float("nan")
    squares = cv2.norm(image, reference, cv2.NORM_L2SQR, where.view(np.uint8))
    return float(10 * np.log10(255**2 / max(squares / (3 * count), 1e-2)))


def face_area(landmarks: Floats, image: Image) -> Flags:
    """Return (H, W) where the face is: the hull of its landmarks, scaled 1.6 times about their centre."""
    points = landmarks[:_MESH, :2].astype(np.float64)
    centre = points.mean(axis=0)
    hull = cv2.convexHull((centre + _FACE_MARGIN * (points - centre)).round().astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros(image.shape[:2], np.uint8), hull, 1)
    return np.asarray(mask, bool)


def face_sharpness(image: Image, landmarks: Floats) -> float:
    """Return the variance of the Laplacian of the grey face, scaled linearly to an IOD of 200 px; NaN if it is tiny."""
    low = np.maximum(np.floor(landmarks[:_MESH, :2].min(axis=0)).astype(int), 0)
    high = np.ceil(landmarks[:_MESH, :2].max(axis=0)).astype(int)
    face = image[low[1] : high[1], low[0] : high[0]]
    if min(face.shape[:2]) < 16:
        return float("nan")
    grey = _grey(face)
    zoom = _SHARPNESS_IOD / interocular_distance(landmarks)
    for axis in (0, 1):  # from the first to the last pixel, which OpenCV's resizing does not do
        at = np.linspace(0, grey.shape[axis] - 1, max(2, round(grey.shape[axis] * zoom)), dtype=np.float32)
        before = np.minimum(at.astype(int), grey.shape[axis] - 2)
        weight = (at - before.astype(np.float32)).reshape((-1, 1) if axis == 0 else (1, -1))
        grey = grey.take(before, axis) * (1 - weight) + grey.take(before + 1, axis) * weight
    return float(cv2.Laplacian(grey, cv2.CV_32F, borderType=cv2.BORDER_REFLECT).var())


def upper_face(landmarks: Floats) -> list[int]:
    """Return the landmarks that tell people apart: above the nose base, without eyes, brows and skin beside eyes."""
    points = landmarks.astype(np.float64) * (1, -1, -1)
    up = points @ head_pose(landmarks).rotation[:, 1]
    near = _NEAR_EYE * interocular_distance(landmarks)
    moving = {*_LIP_CONTOURS, *_LIDS, *(k for brow in BROWS for k in brow)}
    lids = points[list(_LIDS)]
    return [
        k
        for k in range(_MESH)
        if k not in moving and up[k] > up[2] and np.linalg.norm(lids - points[k], axis=1).min() > near
    ]


def _shape_distance(reference: Floats64, landmarks: Floats64, of: list[int]) -> float:
    """Return the RMS distance of landmarks after a similarity fit to the reference's, % of its IOD."""
    scale, rotation, shift = fit_similarity(landmarks[of], reference[of])
    difference = scale * landmarks[of] @ rotation.T + shift - reference[of]
    return float(100 * np.sqrt(np.square(difference).sum(axis=1).mean()) / interocular_distance(reference))


class _UpperFace:
    """The grey upper face, without the columns over the eyes, brought to one place and size by its landmarks."""

    def __init__(self, landmarks: Floats, of: list[int]) -> None:
        points = landmarks[:, :2].astype(np.float64)
        low, high = points[of].min(axis=0), points[of].max(axis=0)
        points = (points - low) / (high - low).max() * (_PATCH - 1)
        self._of = of
        self._known = np.column_stack([points[of], np.ones(len(of))])
        x, y = np.meshgrid(np.arange(_PATCH), np.arange(_PATCH))
        hull = cv2.convexHull(np.rint(points[of] * 16).astype(np.int32))
        use = cv2.fillConvexPoly(np.zeros(x.shape, np.uint8), hull, 1, shift=4) > 0
        iod = np.linalg.norm(points[33] - points[263])
        for corners in _EYE_CORNERS:
            centre = points[list(corners)].mean(axis=0)
            over = np.abs(x - centre[0]) <= _EYE_HALF_WIDTH * iod
            use &= ~(over & (y - centre[1] <= _EYE_HEIGHT * iod))
        self._at = np.column_stack([x[use], y[use], np.ones(int(use.sum()))])

    def sample(self, image: Image, landmarks: Floats) -> Floats | None:
        """Return its pixels (n,), without their mean and of length 1; None where they are outside of the image."""
        matrix = np.linalg.lstsq(self._known, landmarks[self._of, :2].astype(np.float64), rcond=None)[0]
        at = self._at @ matrix
        low = np.maximum(np.floor(at.min(axis=0)).astype(int) - 1, 0)
        high = np.ceil(at.max(axis=0)).astype(int) + 2
        part = image[low[1] : high[1], low[0] : high[0]]
        if min(part.shape[:2]) < 8:
            return None
        pixels = _sample(_grey(part), at - low)
        pixels = pixels - pixels.mean()
        return np.asarray(pixels / max(float(np.linalg.norm(pixels)), 1e-6))


def _grey(image: Image) -> Floats32:
    """Return the mean (H, W) of the colours."""
    return np.asarray(cv2.transform(image.astype(np.float32), np.full((1, 3), 1 / 3, np.float32)), np.float32)


def _sample(grey: Floats, at: Floats64) -> Floats64:
    """Return a grey image (H, W) at positions (n, 2) x, y, bilinearly; OpenCV would round them to 1/32 px."""
    height, width = grey.shape
    x, y = np.clip(at, 0, (width - 1, height - 1)).T
    column, row = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    right, down = x - column, y - row
    top = (1 - right) * grey[row, column] + right * grey[row, column + 1]
    bottom = (1 - right) * grey[row + 1, column] + right * grey[row + 1, column + 1]
    return np.asarray((1 - down) * top + down * bottom)
