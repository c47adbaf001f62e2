"""Input images of F and M: the crop of a face, 256 px.

Source: docs/method/liveportrait.md, Crop.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Image
from ...face.crop import FaceCrop
from ...face.liveportrait_crop import SIZE, crop_pixels
from ...face.source_crop import shrink_to_crop

NETWORK_SIZE = 256
"""Side of the inputs of F and M, px."""


def whole_frame(size: tuple[int, int]) -> FaceCrop:
    """Return the crop of a whole image of `size` = (width, height), letterboxed to a square."""
    side = max(size)
    to_image = np.diag([side / SIZE, side / SIZE, 1.0])
    to_image[:2, 2] = (np.array(size) - side) / 2
    return FaceCrop(to_image, (SIZE, SIZE))


def network_image(image: Image, crop: FaceCrop, *, repeat_edge: bool = False) -> Image:
    """Return the input of F and M, (256, 256, 3): the 512 px crop, reduced by area averaging.

    Beyond the image it is black, or repeats the image's edge.
    """
    if crop.scale > 2:
        image, crop = shrink_to_crop(image, crop)
    seen = crop_pixels(image, crop, repeat_edge=repeat_edge)
    small: Image = cv2.resize(seen, (NETWORK_SIZE, NETWORK_SIZE), interpolation=cv2.INTER_AREA)
    return small
