"""Crop a source to its face, for `--crop`."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Image
from ..media.footage import Footage
from .crop import FaceCrop
from .liveportrait_crop import SCALE, SHIFT_Y, portrait_crop
from .tracked import TrackedSource


class _CroppedFrames:
    """The frames of a footage, all with the same crop."""

    def __init__(self, footage: Footage, crop: FaceCrop) -> None:
        self._footage, self._crop = footage, crop
        self._last: tuple[int, Image] | None = None  # a frame is read twice: by the renderer and for pasting

    def __len__(self) -> int:
        return len(self._footage)

    def __getitem__(self, index: int) -> Image:
        if self._last is None or self._last[0] != index:
            self._last = (index, _warp(self._footage[index], self._crop))
        return self._last[1]


def _warp(image: Image, crop: FaceCrop) -> Image:
    """Return the pixels of a crop; edge pixels are repeated outside the image."""
    if crop.scale > 1.5:  # avoids aliasing
        image, crop = shrink_to_crop(image, crop)
    pixels: Image = cv2.warpAffine(
        image, crop.to_crop[:2], crop.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return pixels


def shrink_to_crop(image: Image, crop: FaceCrop) -> tuple[Image, FaceCrop]:
    """Return the image reduced to the scale of the crop by area averaging, and the crop of the reduced image."""
    scale = crop.scale
    small = cv2.resize(image, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    # Pixel centres: (x, y) of the reduced image lies at scale · (x + ½) − ½ of the original.
    offset = (scale - 1) / 2
    to_original = np.array([[scale, 0, offset], [0, scale, offset], [0, 0, 1]])
    return small, FaceCrop(np.linalg.inv(to_original) @ crop.to_image, crop.size)


def fit_inside_image(crop: FaceCrop, size: tuple[int, int]) -> FaceCrop:
    """Return `crop` if it lies inside the image (width, height), else the nearest upright crop that does."""
    side = crop.size[0] * crop.scale
    corners = np.array([[x, y, 1.0] for x in (0, crop.size[0]) for y in (0, crop.size[1])]) @ crop.to_image[:2].T
    if (corners >= -0.5).all() and (corners <= np.array(size) + 0.5).all():
        return crop
    side = min(side, *size)
    centre = np.clip(corners.mean(axis=0), side / 2, np.array(size) - side / 2)
    to_image = np.diag([side / crop.size[0], side / crop.size[1], 1.0])
    to_image[:2, 2] = centre - side / 2
    return FaceCrop(to_image, crop.size)


def crop_source(
    source: TrackedSource, *, scale: float = SCALE, shift_x: float = 0.0, shift_y: float = SHIFT_Y
) -> TrackedSource:
    """Return the source cropped to its face, 512×512 px. All frames of a video have the same crop.

    `scale`, `shift_x` and `shift_y` are those of `portrait_crop`; the defaults are LivePortrait's.
    """
    footage = source.footage
    mean_face = np.mean([face.landmarks for face in source.faces], axis=0)
    crop = fit_inside_image(portrait_crop(mean_face, scale=scale, shift_x=shift_x, shift_y=shift_y), footage.size)
    if source.is_still:
        opacity = None if footage.opacity is None else _warp(footage.opacity, crop)
        cropped = Footage.from_array(footage.name, _warp(footage[0], crop), opacity)
    else:
        cropped = Footage(footage.name, _CroppedFrames(footage, crop), fps=footage.fps)
    return TrackedSource(cropped, tuple(face.in_crop(crop) for face in source.faces), source.visible)
