"""LivePortrait's way of pasting a face back: its mask, and its blend (spec liveportrait.md §14)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ...arrays import Floats, Image

SIZE = 512
_RAMP = 16  # px from the full mask to its edge


def crop_mask() -> Image:
    """Weight (512, 512) uint8 of a generated face: 255 inside, a ramp of 16 px to the edge, round corners.

    The original's file to the bit, with its lean of one pixel: 0 in the first row and column, 15 in the last.
    """
    at = np.arange(SIZE)
    beyond = np.maximum(np.maximum(_RAMP - at, 0), at - (SIZE - _RAMP))
    distance = np.hypot(beyond[:, None], beyond)
    mask: Image = np.floor(255 * np.maximum(0, 1 - distance / _RAMP)).astype(np.uint8)
    return mask


def mask_in_picture(to_image: Floats, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Weight (H, W) float32 0…1 of the face in a picture of `size` = (width, height): once for each crop.

    Args:
        to_image: (3, 3) crop px → image px, `FaceCrop.to_image`.
        size: width and height of the picture.
    """
    return _warp(crop_mask(), to_image, size).astype(np.float32) / np.float32(255)


def paste_back(face: Image, picture: Image, to_image: Floats, mask: npt.NDArray[np.float32]) -> Image:
    """A new picture (H, W, 3) uint8 with the generated face (512, 512, 3) in its place; values are cut, not rounded.

    Args:
        face: what the generator drew, RGB uint8.
        picture: (H, W, 3) the source.
        to_image: (3, 3) crop px → image px.
        mask: (H, W) of `mask_in_picture`.
    """
    over = _warp(face, to_image, (picture.shape[1], picture.shape[0]))
    weight = mask[..., None]
    return np.clip(weight * over + (1 - weight) * picture, 0, 255).astype(np.uint8)


def _warp(image: Image, to_image: Floats, size: tuple[int, int]) -> Image:
    warped: Image = cv2.warpAffine(image, np.asarray(to_image, np.float64)[:2], size, flags=cv2.INTER_LINEAR)
    return warped
