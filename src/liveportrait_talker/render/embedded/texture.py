"""The enlarged source image from which all frames are sampled.

Sampling between pixels softens them by an amount that changes visibly as a head drifts. An image that is enlarged once
by a Lanczos filter keeps more of its sharpness: ×2 with bicubic sampling 97–101 %, where bicubic sampling of the image
itself keeps 90–96 % at the same cost; ×4 with bilinear sampling nearly as much in a third of the time
(docs/performance.md). The original pixels stay in the enlarged image unchanged, so that without motion the output
equals the image exactly.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Floats, Image
from .raster import sharpen

Box = tuple[int, int, int, int]

_TAPS = 4  # of the Lanczos filter, on each side
_x = np.arange(-_TAPS + 0.5, _TAPS)
_HALF_STEP = (np.sinc(_x) * np.sinc(_x / _TAPS)).astype(np.float32)
_HALF_STEP /= _HALF_STEP.sum()
_LARGEST_FOURFOLD = 1_500_000  # px of a box, 72 MB when enlarged
_TARGET_SHARPNESS = 0.97  # of the source's; not 1, because teeth, lashes and the warp add edges


def double_size(image: Image) -> Image:
    """Enlarge (h, w, c) to (2h, 2w, c): pixel (2y, 2x) is the old (y, x), the others are interpolated."""
    height, width, channels = image.shape
    anchor = _TAPS - 1
    between = cv2.filter2D(image, -1, _HALF_STEP[None], anchor=(anchor, 0), borderType=cv2.BORDER_REPLICATE)
    wide = np.empty((height, 2 * width, channels), np.uint8)
    wide[:, ::2], wide[:, 1::2] = image, between
    out = np.empty((2 * height, 2 * width, channels), np.uint8)
    out[::2] = wide
    out[1::2] = cv2.filter2D(wide, -1, _HALF_STEP[:, None], anchor=(0, anchor), borderType=cv2.BORDER_REPLICATE)
    return out


def blur(image: Image) -> Image:
    """Blur the finest detail, as `raster.sharpen` needs it."""
    blurred: Image = cv2.GaussianBlur(image, (3, 3), 0.8, borderType=cv2.BORDER_REPLICATE)
    return blurred


def _measure_sharpness(image: Image) -> float:
    """Return the variance of the Laplacian of the grey image."""
    grey = cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def enlarge(image: Image, factor: int) -> Image:
    """Enlarge (h, w, c) by `factor`, a power of two; every `factor`-th pixel is an original one."""
    while factor > 1:
        image, factor = double_size(image), factor // 2
    return image


class Texture:
    """An enlarged part of an image, in which patches can be replaced."""

    def __init__(self, image: Image, box: Box, *, many_frames: bool, above: Image | None = None) -> None:
        """Enlarge a part of `image`.

        Args:
            image: (H, W, 3), or (H, W, 4) with an opacity.
            box: left, top, right, bottom of the part, image px; clipped to the image.
            many_frames: enlarge fourfold (where memory allows), which pays if it is sampled often.
            above: (n, W, c) rows above the image.
        """
        rows = 0 if above is None else len(above)
        height, width = image.shape[:2]
        self.box = (max(box[0], 0), max(box[1], -rows), min(box[2], width), min(box[3], height))
        left, top, right, bottom = self.box
        self._plain = image[max(top, 0) : bottom, left:right].copy()
        if above is not None and top < 0:
            self._plain = np.concatenate([above[top + rows :, left:right], self._plain])
        area = self._plain.shape[0] * self._plain.shape[1]
        self.factor = 4 if many_frames and area <= _LARGEST_FOURFOLD else 2
        """Enlarged px per image px."""
        self._enlarged = enlarge(self._plain, self.factor)

    def find_sharpening(self, box: Box) -> float:
        """Return the amount of sharpening, 0…0.5, that restores the sharpness of a part after moving it.

        Measured by moving the part by a fraction of a pixel and comparing the variance of the Laplacian.
        """
        left, top, right, bottom = (
            int(np.clip(v, low, high)) for v, low, high in zip(box, self.box[:2] * 2, self.box[2:] * 2, strict=True)
        )
        if right - left < 24 or bottom - top < 24:
            return 0.0
        y, x = np.mgrid[top - self.box[1] : bottom - self.box[1], left - self.box[0] : right - self.box[0]]
        wanted = _TARGET_SHARPNESS * _measure_sharpness(self._plain[y, x])
        moved = self.sample(*((self.factor * p).astype(np.float32) for p in (x + 0.37, y + 0.61)))
        blurred = blur(moved)
        everywhere, most = np.ones(moved.shape[:2], np.float32), 0.5
        stronger = moved.copy()
        sharpen(stronger, blurred, everywhere, most)
        # The square root of the variance is linear in the amount.
        before, after = _measure_sharpness(moved) ** 0.5, _measure_sharpness(stronger) ** 0.5
        return float(np.clip(most * (wanted**0.5 - before) / max(after - before, 1e-6), 0.0, most))

    def covers(self, box: Box) -> bool:
        """Return whether `box` lies within this part."""
        return bool((np.array(box[:2]) >= self.box[:2]).all() and (np.array(box[2:]) <= self.box[2:]).all())

    def redraw(self, left: int, top: int, patch: Image) -> None:
        """Replace the pixels at image px (left, top) by `patch` (h, w, 3); an opacity stays."""
        x, y = left - self.box[0], top - self.box[1]
        height, width = patch.shape[:2]
        changed = (self._plain[y : y + height, x : x + width, :3] != patch).any(axis=-1)
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return
        patch = patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        x, y, (height, width) = x + int(columns[0]), y + int(rows[0]), patch.shape[:2]
        self._plain[y : y + height, x : x + width, :3] = patch
        # The filters read pixels around the patch, and pixels around the patch depend on it.
        reach, f = _TAPS + _TAPS // 2, self.factor
        x0, y0 = max(x - 2 * reach, 0), max(y - 2 * reach, 0)
        around = self._plain[y0 : y + height + 2 * reach, x0 : x + width + 2 * reach]
        fresh = enlarge(around, f)
        left, top = (reach if x0 else 0), (reach if y0 else 0)
        right = around.shape[1] - (reach if x0 + around.shape[1] < self._plain.shape[1] else 0)
        bottom = around.shape[0] - (reach if y0 + around.shape[0] < self._plain.shape[0] else 0)
        kept = fresh[f * top : f * bottom, f * left : f * right]
        self._enlarged[f * (y0 + top) : f * (y0 + bottom), f * (x0 + left) : f * (x0 + right)] = kept

    def sample(self, map_x: Floats, map_y: Floats) -> Image:
        """Return pixels (h, w, c) at positions (h, w) in enlarged px from the box's corner; outside, edges repeat."""
        method = cv2.INTER_LINEAR if self.factor == 4 else cv2.INTER_CUBIC
        pixels: Image = cv2.remap(self._enlarged, map_x, map_y, method, borderMode=cv2.BORDER_REPLICATE)
        return pixels
