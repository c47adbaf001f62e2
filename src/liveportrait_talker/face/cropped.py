"""A source cut to its face, for `--crop`."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Image
from ..media.footage import Footage
from .crop import FaceCrop
from .liveportrait_crop import SCALE, SHIFT_Y, portrait_crop
from .tracked import TrackedSource


class _CroppedPictures:
    """Frames of another footage seen through one crop."""

    def __init__(self, footage: Footage, crop: FaceCrop) -> None:
        self._footage, self._crop = footage, crop
        self._last: tuple[int, Image] | None = None  # a frame is asked for twice: to be drawn, and to be pasted into

    def __len__(self) -> int:
        return len(self._footage)

    def __getitem__(self, index: int) -> Image:
        if self._last is None or self._last[0] != index:
            self._last = (index, cut(self._footage[index], self._crop))
        return self._last[1]


def cut(image: Image, crop: FaceCrop) -> Image:
    """The pixels of a crop; beyond the picture its edge is repeated."""
    if crop.scale > 1.5:  # sampling alone would leave jagged hair
        image, crop = averaged(image, crop)
    pixels: Image = cv2.warpAffine(
        image, crop.to_crop[:2], crop.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return pixels


def averaged(image: Image, crop: FaceCrop) -> tuple[Image, FaceCrop]:
    """The picture shrunk by area averaging to the crop's own scale, and the crop in it: sampled there, no pixel is
    skipped."""
    shrink = crop.scale
    small = cv2.resize(image, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    # Pixel centres: the shrunk picture's (x, y) lies at shrink · (x + ½) − ½ of the old one.
    offset = (shrink - 1) / 2
    to_old = np.array([[shrink, 0, offset], [0, shrink, offset], [0, 0, 1]])
    return small, FaceCrop(np.linalg.inv(to_old) @ crop.to_image, crop.size)


def inside_picture(crop: FaceCrop, size: tuple[int, int]) -> FaceCrop:
    """The crop if the picture (width, height) holds it; else an upright one near it that the picture does hold."""
    side = crop.size[0] * crop.scale
    corners = np.array([[x, y, 1.0] for x in (0, crop.size[0]) for y in (0, crop.size[1])]) @ crop.to_image[:2].T
    if (corners >= -0.5).all() and (corners <= np.array(size) + 0.5).all():
        return crop
    side = min(side, *size)
    middle = np.clip(corners.mean(axis=0), side / 2, np.array(size) - side / 2)
    to_image = np.diag([side / crop.size[0], side / crop.size[1], 1.0])
    to_image[:2, 2] = middle - side / 2
    return FaceCrop(to_image, crop.size)


def cropped(
    source: TrackedSource, *, scale: float = SCALE, shift_x: float = 0.0, shift_y: float = SHIFT_Y
) -> TrackedSource:
    """The source as a 512 px footage of its face. A video keeps one crop throughout, so that it does not sway.

    `scale`, `shift_x` and `shift_y` are those of `portrait_crop`; the default is LivePortrait's own frame.
    """
    footage = source.footage
    mean_face = np.mean([face.landmarks for face in source.faces], axis=0)
    window = portrait_crop(mean_face, scale=scale, shift_x=shift_x, shift_y=shift_y)
    crop = inside_picture(window, footage.size)
    if source.is_still:
        pictures = Footage.from_array(footage.name, cut(footage[0], crop))
    else:
        pictures = Footage(footage.name, _CroppedPictures(footage, crop), fps=footage.fps)
    return TrackedSource(pictures, tuple(face.moved(crop) for face in source.faces), source.visible)
