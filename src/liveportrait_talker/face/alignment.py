"""The face as the 3DMM regressor wants it: iBUG's 68 points, their rectangle, five points on a standard face.

Source: spec talker.md §6. Points are px, x right, y down; left is the picture's left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Floats, Floats64, Image

ALIGNED_SIZE = 224
FACE_SIZE = 256
"""Side of the squeezed face that the original aligns from."""

# MediaPipe's points for each of iBUG's 68; of a pair, the mean. The jaw is approximate and looked at by nothing
# but the crop's bounding box.
_IBUG: tuple[int | tuple[int, int], ...] = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),  # 0–16 jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # 17–26 brows
    *((168, 6), 197, 5, 4, 75, 97, 2, 326, 305),  # 27–35 nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # 36–47 eyes
    *(61, (39, 40), 37, 0, 267, (269, 270), 291, 321, 314, 17, 84, 91),  # 48–59 outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # 60–67 inner lips
)
_IBUG_PAIRS = np.array([(p, p) if isinstance(p, int) else p for p in _IBUG])  # (68, 2)

# Left eye, right eye, nose tip, mouth corners of a standard face: x right, y up, z to the camera.
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
_STANDARD_SIZE = 102.0  # px of the aligned picture per unit of the standard face


def ibug68(landmarks: Floats) -> Floats64:
    """iBUG's points (..., 68, 2) from MediaPipe's (..., 478, 2 or 3), in the same px (§6.1)."""
    points: Floats64 = np.asarray(landmarks, dtype=np.float64)[..., _IBUG_PAIRS, :2].mean(axis=-2)
    return points


@dataclass(frozen=True)
class FaceRectangle:
    """The original's crop: upright, clamped to the picture, hardly ever square."""

    left: int
    top: int
    right: int
    bottom: int
    picture: tuple[int, int]
    """Width and height that the picture is resized to first; the four numbers above are px of that."""


def face_rectangle(landmarks68: Floats, size: tuple[int, int], output_size: int = 512) -> FaceRectangle:
    """The rectangle about a face in a picture of `size` = (width, height), shrunk first if it is huge (§6.2)."""
    points = np.asarray(landmarks68, dtype=np.float64)
    left_eye, right_eye = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes, across = (left_eye + right_eye) / 2, right_eye - left_eye
    down = (points[48] + points[54]) / 2 - eyes
    x = across + np.array([down[1], -down[0]])
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    side = 2.0 * float(np.hypot(*x))

    width, height = size
    shrink = int(np.floor(side / output_size * 0.5))
    if shrink > 1:
        width, height = int(np.rint(width / shrink)), int(np.rint(height / shrink))
        quad, side = quad / shrink, side / shrink
    border = max(int(np.rint(0.1 * side)), 3)
    low, high = np.floor(quad.min(axis=0)).astype(int) - border, np.ceil(quad.max(axis=0)).astype(int) + border
    return FaceRectangle(
        max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height), (width, height)
    )


@dataclass(frozen=True)
class Alignment:
    """A uniform scaling and a shift that put a face in the middle of 224 px (§6.3)."""

    picture: tuple[int, int]
    """Width and height of the picture, px."""
    scale: float
    """Aligned px per picture px."""
    shift: tuple[float, float]
    """Where the standard face's origin is in the picture: x right, y **up** from the bottom row, px."""

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height of the whole picture at the aligned scale."""
        return int(self.picture[0] * self.scale), int(self.picture[1] * self.scale)

    @property
    def corner(self) -> tuple[int, int]:
        """Left and top of the aligned window in the resized picture."""
        (width, height), (w, h), (tx, ty) = self.picture, self.resized, self.shift
        left = w / 2 - ALIGNED_SIZE / 2 + (tx - width / 2) * self.scale
        top = h / 2 - ALIGNED_SIZE / 2 + (height / 2 - ty) * self.scale
        return int(left), int(top)

    def points(self, landmarks: Floats) -> Floats64:
        """Landmarks (n, 2), px of the picture with y up, as the aligned picture has them, also y up."""
        (width, height), (w, h) = self.picture, self.resized
        moved = (np.asarray(landmarks, dtype=np.float64) - self.shift + (width / 2, height / 2)) * self.scale
        aligned: Floats64 = moved - (w / 2 - ALIGNED_SIZE / 2, h / 2 - ALIGNED_SIZE / 2)
        return aligned


def five_points(landmarks68: Floats) -> Floats64:
    """Eyes, nose tip, mouth corners (5, 2) from iBUG's points (68, 2)."""
    p = np.asarray(landmarks68, dtype=np.float64)
    return np.stack([(p[36] + p[39]) / 2, (p[42] + p[45]) / 2, p[30], p[48], p[54]])


def upwards(landmarks: Floats, height: int) -> Floats64:
    """Points (n, 2) of a picture of this height with y turned: down to up from its last row, or back."""
    turned = np.array(landmarks, dtype=np.float64)
    turned[:, 1] = height - 1 - turned[:, 1]
    return turned


def alignment(landmarks68: Floats, size: tuple[int, int]) -> Alignment:
    """The alignment of a face with these points, y **up**, in a picture of `size` = (width, height).

    A weak camera, fitted to five points by least squares, says how big the face is and where.
    """
    five = five_points(landmarks68)
    camera, *_ = np.linalg.lstsq(np.column_stack([_STANDARD.astype(np.float64), np.ones(5)]), five, rcond=None)
    # camera: (4, 2), rows x, y, z of the standard face and the constant; columns x, y of the picture
    scale = float(np.linalg.norm(camera[:3], axis=0).mean())
    return Alignment(size, _STANDARD_SIZE / scale, (float(camera[3, 0]), float(camera[3, 1])))


def aligned_picture(image: Image, align: Alignment) -> Image:
    """The aligned face (224, 224, 3) uint8 of a picture (H, W, 3); black outside it."""
    (left, top), (width, height) = align.corner, align.resized
    across = _bicubic(image.shape[1], width, left)
    down = _bicubic(image.shape[0], height, top)
    rows = _to_uint8(np.einsum("ow,hwc->hoc", across, image, optimize=True))
    return _to_uint8(np.einsum("oh,hwc->owc", down, rows, optimize=True))


def align_face(image: Image, landmarks: Floats) -> Image:
    """The aligned face (224, 224, 3) of a picture (H, W, 3) with MediaPipe's landmarks (478, 2 or 3): the regressor's.

    Straight from the picture, not by way of a squeezed 256 px face (defect 7) with landmarks found anew (17).
    """
    height, width = image.shape[:2]
    return aligned_picture(image, alignment(upwards(ibug68(landmarks), height), (width, height)))


def _bicubic(size: int, resized: int, first: int) -> Floats64:
    """Weights (224, size) of Pillow's BICUBIC resampling for the output pixels from `first`; zeros outside it.

    Only what the window shows is made: a small face in a big picture would else be a huge one first.
    """
    step = size / resized
    support = max(step, 1.0)
    at = (np.arange(first, first + ALIGNED_SIZE) + 0.5) * step  # centres in the source
    # Pillow weighs the pixels from int(at − reach + ½) to int(at + reach + ½) and no others.
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
    # Pillow's weights are fixed-point numbers: kept so, ties round as they do there.
    fixed: Floats64 = np.rint(normalised * _FIXED_ONE) / _FIXED_ONE
    return fixed


def _to_uint8(values: Floats64) -> Image:
    pixels: Image = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return pixels
