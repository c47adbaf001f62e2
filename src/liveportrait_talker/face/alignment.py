"""Alignment of a face for the 3DMM regressor, by five of iBUG's 68 landmarks.

Source: docs/method/sadtalker.md, Landmarks and Alignment. Points are in px, x right, y down; left is the image's left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Floats, Floats64, Image

_ALIGNED_SIZE = 224

# MediaPipe's landmarks for each of iBUG's 68; pairs are averaged. The jaw is approximate; only the bounding box of
# LivePortrait's crop uses it.
_IBUG: tuple[int | tuple[int, int], ...] = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),  # 0–16 jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # 17–26 brows
    *((168, 6), 197, 5, 4, 75, 97, 2, 326, 305),  # 27–35 nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # 36–47 eyes
    *(61, (39, 40), 37, 0, 267, (269, 270), 291, 321, 314, 17, 84, 91),  # 48–59 outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # 60–67 inner lips
)
_IBUG_PAIRS = np.array([(p, p) if isinstance(p, int) else p for p in _IBUG])  # (68, 2)

# Left eye, right eye, nose tip and mouth corners of the standard face: x right, y up, z towards the camera.
_STANDARD = np.array(
    [
        (-0.31148657, 0.29036078, 0.13377953),
        (0.30979887, 0.28972036, 0.13179526),
        (0.00325350, -0.04617932, 0.55244243),
        (-0.25216928, -0.38133916, 0.22405732),
        (0.24846620, -0.38128236, 0.22235769),
    ],
    dtype=np.float32,
)
_FIXED_ONE = float(1 << 22)
_STANDARD_SIZE = 102.0  # px of the aligned image per unit of the standard face


def ibug68(landmarks: Floats) -> Floats64:
    """Return iBUG's landmarks (..., 68, 2) from MediaPipe's (..., 478, 2 or 3), in the same px."""
    points: Floats64 = np.asarray(landmarks, dtype=np.float64)[..., _IBUG_PAIRS, :2].mean(axis=-2)
    return points


@dataclass(frozen=True)
class Alignment:
    """A scaling and a translation that centre a face in 224×224 px."""

    image_size: tuple[int, int]
    """(width, height) of the image, px."""
    scale: float
    """Aligned px per image px."""
    origin: tuple[float, float]
    """Position of the standard face's origin in the image: x right, y **up** from the last row, px."""

    @property
    def resized(self) -> tuple[int, int]:
        """(width, height) of the whole image at the aligned scale."""
        return int(self.image_size[0] * self.scale), int(self.image_size[1] * self.scale)

    @property
    def corner(self) -> tuple[int, int]:
        """(left, top) of the aligned window in the resized image."""
        (width, height), (w, h), (tx, ty) = self.image_size, self.resized, self.origin
        left = w / 2 - _ALIGNED_SIZE / 2 + (tx - width / 2) * self.scale
        top = h / 2 - _ALIGNED_SIZE / 2 + (height / 2 - ty) * self.scale
        return int(left), int(top)


def five_points(landmarks68: Floats) -> Floats64:
    """Return eyes, nose tip and mouth corners (5, 2) from iBUG's landmarks (68, 2)."""
    p = np.asarray(landmarks68, dtype=np.float64)
    return np.stack([(p[36] + p[39]) / 2, (p[42] + p[45]) / 2, p[30], p[48], p[54]])


def flip_y(landmarks: Floats, height: int) -> Floats64:
    """Convert points (n, 2) between y down from the first and y up from the last row of an image."""
    flipped = np.array(landmarks, dtype=np.float64)
    flipped[:, 1] = height - 1 - flipped[:, 1]
    return flipped


def fit_alignment(landmarks68: Floats, image_size: tuple[int, int]) -> Alignment:
    """Fit the alignment of a face: a weak-perspective camera, by least squares to five points.

    Args:
        landmarks68: iBUG's landmarks (68, 2), px with y **up**.
        image_size: (width, height).
    """
    five = five_points(landmarks68)
    camera, *_ = np.linalg.lstsq(np.column_stack([_STANDARD.astype(np.float64), np.ones(5)]), five, rcond=None)
    # camera: (4, 2); rows x, y, z of the standard face and the constant, columns x, y of the image
    scale = float(np.linalg.norm(camera[:3], axis=0).mean())
    return Alignment(image_size, _STANDARD_SIZE / scale, (float(camera[3, 0]), float(camera[3, 1])))


def crop_aligned(image: Image, alignment: Alignment) -> Image:
    """Return the aligned face (224, 224, 3) uint8 of an image (H, W, 3); black outside the image."""
    (left, top), (width, height) = alignment.corner, alignment.resized
    across = _bicubic(image.shape[1], width, left)
    down = _bicubic(image.shape[0], height, top)
    rows = _to_uint8(np.einsum("ow,hwc->hoc", across, image, optimize=True))
    return _to_uint8(np.einsum("oh,hwc->owc", down, rows, optimize=True))


def align_face(image: Image, landmarks: Floats) -> Image:
    """Return the regressor's input, an aligned face (224, 224, 3) uint8.

    It is sampled from the full image; the original samples a face resized to 256×256 px, with landmarks detected again
    (docs/earlier_systems.md, defects 7 and 17).

    Args:
        image: (H, W, 3) uint8.
        landmarks: MediaPipe's (478, 2 or 3), px.
    """
    height, width = image.shape[:2]
    return crop_aligned(image, fit_alignment(flip_y(ibug68(landmarks), height), (width, height)))


def _bicubic(size: int, resized: int, first: int) -> Floats64:
    """Return the weights (224, size) of Pillow's BICUBIC resampling for the output pixels from `first`; 0 outside.

    Only the window is computed, as the resized image can be huge if the face is small.
    """
    step = size / resized
    support = max(step, 1.0)
    at = (np.arange(first, first + _ALIGNED_SIZE) + 0.5) * step  # centres in the source
    # Pillow's support: pixels int(at − reach + ½) to int(at + reach + ½).
    low = np.maximum(np.floor(at - 2 * support + 0.5), 0)
    high = np.minimum(np.floor(at + 2 * support + 0.5), size)
    pixel = np.arange(size)
    distance = np.abs(pixel + 0.5 - at[:, None]) / support
    a = -0.5
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    weight = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    weight *= (pixel >= low[:, None]) & (pixel < high[:, None])
    total = weight.sum(axis=1, keepdims=True)
    inside = (at >= 0) & (at < size)
    normalised = np.where(inside[:, None], weight / np.where(total == 0, 1, total), 0.0)
    # Pillow's weights are fixed-point numbers, which decides how ties round.
    fixed: Floats64 = np.rint(normalised * _FIXED_ONE) / _FIXED_ONE
    return fixed


def _to_uint8(values: Floats64) -> Image:
    pixels: Image = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return pixels
