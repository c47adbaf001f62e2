"""The source picture enlarged, from which every frame is sampled.

Sampling between the picture's own pixels softens them, and a drifting head would breathe: sharp, soft, sharp.
Enlarged once by a Lanczos filter, a face keeps more of its sharpness: twice as large and sampled bicubically, 97–101 %
where plain bicubic sampling keeps 90–96 %, at the same cost; four times as large and sampled bilinearly, nearly as much
in a third of the time (docs/performance.md). The picture's own pixels stay in the enlarged one unchanged, so that no
motion gives the picture back bit for bit.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Floats, Image
from .raster import sharpen

Box = tuple[int, int, int, int]

_TAPS = 4  # each side of the middle
_x = np.arange(-_TAPS + 0.5, _TAPS)
_HALF_STEP = (np.sinc(_x) * np.sinc(_x / _TAPS)).astype(np.float32)
_HALF_STEP /= _HALF_STEP.sum()
_LARGEST_FOURFOLD = 1_500_000  # px of a box: 72 MB enlarged
_KEPT = 0.97  # share of the sharpness to keep: teeth, lashes and the warp add edges of their own


def doubled(image: Image) -> Image:
    """(h, w, 3) → (2h, 2w, 3): pixel (2y, 2x) is the old (y, x), the others lie between."""
    height, width = image.shape[:2]
    anchor = _TAPS - 1
    between = cv2.filter2D(image, -1, _HALF_STEP[None], anchor=(anchor, 0), borderType=cv2.BORDER_REPLICATE)
    wide = np.empty((height, 2 * width, 3), np.uint8)
    wide[:, ::2], wide[:, 1::2] = image, between
    out = np.empty((2 * height, 2 * width, 3), np.uint8)
    out[::2] = wide
    out[1::2] = cv2.filter2D(wide, -1, _HALF_STEP[:, None], anchor=(0, anchor), borderType=cv2.BORDER_REPLICATE)
    return out


def blur(image: Image) -> Image:
    """What `sharpen` pushes away from: only the finest detail is lost in it."""
    blurred: Image = cv2.GaussianBlur(image, (3, 3), 0.8, borderType=cv2.BORDER_REPLICATE)
    return blurred


def _sharpness(image: Image) -> float:
    """Variance of the Laplacian of the grey picture."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def enlarged(image: Image, factor: int) -> Image:
    """(h, w, 3) → (factor · h, factor · w, 3) for a power of two, the old pixels at every `factor`-th place."""
    while factor > 1:
        image, factor = doubled(image), factor // 2
    return image


class Texture:
    """A piece of a picture, enlarged, with patches that can be redrawn."""

    def __init__(self, image: Image, box: Box, *, many_frames: bool) -> None:
        """`box` (left, top, right, bottom): what will be sampled, picture px; clipped to the picture.

        `many_frames`: it will be sampled often, which is worth a larger enlargement (where memory allows).
        """
        height, width = image.shape[:2]
        self.box = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
        left, top, right, bottom = self.box
        self._plain = image[top:bottom, left:right].copy()
        area = self._plain.shape[0] * self._plain.shape[1]
        self.factor = 4 if many_frames and area <= _LARGEST_FOURFOLD else 2
        """Enlarged px per picture px."""
        self._enlarged = enlarged(self._plain, self.factor)

    def sharpening(self, box: Box) -> float:
        """How much a piece of the picture must be sharpened after it was moved to be as sharp as it was, 0…0.5.

        Found by trying: the piece is moved by a fraction of a pixel, and its Laplacian's variance compared.
        """
        left, top, right, bottom = (
            int(np.clip(v, low, high)) for v, low, high in zip(box, self.box[:2] * 2, self.box[2:] * 2, strict=True)
        )
        if right - left < 24 or bottom - top < 24:
            return 0.0
        y, x = np.mgrid[top - self.box[1] : bottom - self.box[1], left - self.box[0] : right - self.box[0]]
        wanted = _KEPT * _sharpness(self._plain[y, x])
        moved = self.sampled(*((self.factor * p).astype(np.float32) for p in (x + 0.37, y + 0.61)))
        blurred = blur(moved)
        everywhere, most = np.ones(moved.shape[:2], np.float32), 0.5
        stronger = moved.copy()
        sharpen(stronger, blurred, everywhere, most)
        now, then = _sharpness(moved) ** 0.5, _sharpness(stronger) ** 0.5  # grows in proportion to the amount
        return float(np.clip(most * (wanted**0.5 - now) / max(then - now, 1e-6), 0.0, most))

    def covers(self, box: Box) -> bool:
        """Whether all of `box` lies within."""
        return bool((np.array(box[:2]) >= self.box[:2]).all() and (np.array(box[2:]) <= self.box[2:]).all())

    def redraw(self, left: int, top: int, patch: Image) -> None:
        """Put `patch` (h, w, 3) at picture px (left, top)."""
        x, y = left - self.box[0], top - self.box[1]
        height, width = patch.shape[:2]
        self._plain[y : y + height, x : x + width] = patch
        # The filters reach beyond the patch, and the patch into its surroundings.
        reach, f = _TAPS + _TAPS // 2, self.factor
        x0, y0 = max(x - 2 * reach, 0), max(y - 2 * reach, 0)
        around = self._plain[y0 : y + height + 2 * reach, x0 : x + width + 2 * reach]
        fresh = enlarged(around, f)
        left, top = (reach if x0 else 0), (reach if y0 else 0)
        right = around.shape[1] - (reach if x0 + around.shape[1] < self._plain.shape[1] else 0)
        bottom = around.shape[0] - (reach if y0 + around.shape[0] < self._plain.shape[0] else 0)
        kept = fresh[f * top : f * bottom, f * left : f * right]
        self._enlarged[f * (y0 + top) : f * (y0 + bottom), f * (x0 + left) : f * (x0 + right)] = kept

    def sampled(self, map_x: Floats, map_y: Floats) -> Image:
        """(h, w, 3) pixels at positions (h, w) in enlarged px from the box's corner; beyond it the edge goes on."""
        how = cv2.INTER_LINEAR if self.factor == 4 else cv2.INTER_CUBIC
        pixels: Image = cv2.remap(self._enlarged, map_x, map_y, how, borderMode=cv2.BORDER_REPLICATE)
        return pixels
