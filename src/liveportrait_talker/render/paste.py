"""Pasting of drawn faces into their source frames."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..arrays import Floats, Image
from ..face.crop import FaceCrop
from ..face.tracked import TrackedSource
from .protocol import FaceFrame


def composite(source: TrackedSource, face: FaceFrame) -> Image:
    """Return a source frame with the drawn face pasted in, (H, W, 3), or RGBA (H, W, 4) without a background."""
    return paste(source.footage[face.source_index] if face.picture is None else face.picture, face)


def paste(image: Image, face: FaceFrame) -> Image:
    """Return a copy of an image (H, W, 3) with the face in its place; parts outside the image are cut off."""
    out = image.copy()
    paste_onto(out, face)
    return out


Shares = Callable[[tuple[int, int, int, int]], Floats | None]
"""(left, top, right, bottom) → how far each pixel of this window may be drawn on, (h, w) 0…1; None: all of it."""


def paste_onto(image: Image, face: FaceFrame, shares: Shares | None = None) -> None:
    """Draw the face into an image (H, W, 3) in its place, as far as `shares` says; see `paste`."""
    height, width = image.shape[:2]
    corner = face.crop.corner
    if corner is not None:
        left, top = corner
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + face.crop.size[0], width), min(top + face.crop.size[1], height)
        if x0 >= x1 or y0 >= y1:
            return
        inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        drawn, weight = face.image[inside], None if face.alpha is None else face.alpha[inside]
    else:
        x0, y0, x1, y1 = _covered(face.crop, (width, height))
        if x0 >= x1 or y0 >= y1:
            return
        to_window = face.crop.to_image[:2].copy()
        to_window[:, 2] -= (x0, y0)
        size = (x1 - x0, y1 - y0)
        # With a repeated edge, as the weight alone ends the face: a black border would darken its rim.
        drawn = cv2.warpAffine(face.image, to_window, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        alpha = np.ones(face.image.shape[:2], np.float32) if face.alpha is None else face.alpha
        weight = cv2.warpAffine(alpha.astype(np.float32), to_window, size, flags=cv2.INTER_LINEAR)
    share = None if shares is None else shares((x0, y0, x1, y1))
    if share is not None:
        weight = share if weight is None else weight * share
    image[y0:y1, x0:x1] = _blend(image[y0:y1, x0:x1], drawn, weight)


def _covered(crop: FaceCrop, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the part of an image that a crop covers."""
    (width, height), (w, h) = size, crop.size
    corners = np.array([[x, y, 1.0] for x in (-1, w) for y in (-1, h)]) @ crop.to_image[:2].T
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
    return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height)


def _blend(under: Image, over: Image, alpha: Floats | None) -> Image:
    if alpha is None:
        return over
    mixed = under + (over.astype(np.float32) - under) * alpha[..., None]
    blended: Image = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return blended
