"""Pasting a drawn face back into its picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .protocol import FaceFrame

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]


def paste(picture: Image, face: FaceFrame) -> Image:
    """A new picture (H, W, 3) with the face in its place; what lies outside the picture is cut off."""
    out = picture.copy()
    height, width = picture.shape[:2]
    corner = face.crop.corner
    if corner is not None:
        left, top = corner
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + face.crop.size[0], width), min(top + face.crop.size[1], height)
        if x0 >= x1 or y0 >= y1:
            return out
        inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        out[y0:y1, x0:x1] = _blend(out[y0:y1, x0:x1], face.image[inside], _part(face.alpha, inside))
        return out
    to_image = face.crop.to_image[:2]
    image = cv2.warpAffine(face.image, to_image, (width, height), flags=cv2.INTER_LINEAR)
    alpha = np.ones(face.image.shape[:2], np.float32) if face.alpha is None else face.alpha
    weight = cv2.warpAffine(alpha.astype(np.float32), to_image, (width, height), flags=cv2.INTER_LINEAR)
    return _blend(out, image, weight)


def _part(alpha: Floats | None, inside: tuple[slice, slice]) -> Floats | None:
    return None if alpha is None else alpha[inside]


def _blend(under: Image, over: Image, alpha: Floats | None) -> Image:
    if alpha is None:
        return over
    mixed = under + (over.astype(np.float32) - under) * alpha[..., None]
    blended: Image = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return blended
