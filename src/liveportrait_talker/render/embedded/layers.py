"""Person and background of one image as two layers, so that the background stands still while the head moves."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Image
from ...face.segmentation import PersonSegmenter
from ...face.tracked import TrackedFace
from ...system.jit import kernel
from .background import fill_background
from .crown import continue_crown
from .matting import Matte, estimate_matte, known_matte
from .model import face_model

OPAQUE_BORDER = 127
"""Opacity, of 255, beyond which the person goes on beyond a border of the image."""
FARTHEST = 3.0  # oval radii; hair is followed no further
_MOST_REMOVED = 0.2  # opacity up to which the person is removed from the background by its colours
_HALO = 0.03  # IOD
_BARELY = 12  # opacity, of 255, up to which the person has ended
_MAY_BE = 0.03  # opacity from which on the person may be there
_DISTINCT = 40.0  # of 255: distance of colours that tell person and background apart
_CLEAR = np.float32(6)  # of 255; overshoots of the enlarged opacity
_SCALE = np.float32(1 / 244)  # opacities from 250 on are 1
_NONE, _ALL, _MOST = np.float32(0), np.float32(1), np.float32(255)
_LEAST_TRANSPARENT = 0.02  # share of an image
_LEAST_COVERED = 0.9  # of the face, by the mask
_MOST_UNCERTAIN = 0.5  # of the solved zone
_MOST_DOUBT = 0.1  # IOD²
_MOST_CROWDED = 0.3  # of the directions above the ears in which the person does not end


@dataclass(frozen=True, eq=False)
class Layers:
    """The two layers of an image."""

    person: Image
    """(H, W, 4) RGB colours of the person, continued beyond its outline, and opacity 0…255."""
    above: Image
    """(n, W, 4) likewise, rows above the image: the top of a head that its border cuts off."""
    background: Image
    """(H, W, 3) the image where the opacity is 0, continued behind the person."""
    still: Image
    """(H, W, 3) what is shown where nothing moves: the image itself, unless its background was replaced."""
    extent: Floats
    """(36,) where the person ends in the direction of each landmark of the face oval, in oval radii."""
    is_doubtful: bool
    """Whether parts of the person may be missing or something else may have been taken for it."""

    def over(self, background: Image) -> Layers:
        """Return the person over another background: an (h, w, 3) picture of any size, or (1, 1, 4) transparent."""
        if background.shape[2] == 4:
            nothing = np.zeros_like(self.person)
            return dataclasses.replace(self, background=nothing, still=self.person)
        height, width = self.person.shape[:2]
        fitted = _cover(background, width, height)
        alpha = self.person[..., 3:] / np.float32(255)
        still = fitted + (self.person[..., :3] - fitted.astype(np.float32)) * alpha
        return dataclasses.replace(self, background=fitted, still=np.rint(still).astype(np.uint8))


_KEPT_PIXELS = 5_000_000  # of the pictures whose layers are kept
_kept: dict[bytes, tuple[int, Layers | str]] = {}
_lock = threading.Lock()


def separate(image: Image, face: TrackedFace, opacity: Image | None = None) -> Layers | str:
    """Return the layers of an (H, W, 3) image, or why they cannot be told apart, as part of a sentence.

    An opacity (H, W) 0…255 of the image itself shows the person, unless it is opaque nearly everywhere. The last
    results are kept: the next video of a portrait begins at once.
    """
    digest = hashlib.blake2b(face.landmarks.tobytes())
    for part in (image, opacity):
        if part is not None:
            digest.update(str(part.shape).encode())
            digest.update(np.ascontiguousarray(part).data)
    key = digest.digest()
    with _lock:
        found = _kept.pop(key, None)
    if found is None:
        found = image.shape[0] * image.shape[1], _separate(image, face, opacity)
    with _lock:
        _kept[key] = found  # as the newest
        while len(_kept) > 1 and sum(pixels for pixels, _ in _kept.values()) > _KEPT_PIXELS:
            del _kept[next(iter(_kept))]
    return found[1]


def _separate(image: Image, face: TrackedFace, opacity: Image | None) -> Layers | str:
    oval = face.landmarks[face_model().face_oval, :2].astype(np.float64)
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(oval).astype(np.int32)], 1)
    if opacity is not None and (opacity < 128).mean() > _LEAST_TRANSPARENT:
        matte = known_matte(image, opacity)
        mask = matte.alpha
    else:
        matte = None
        mask = _segmenter().segment(image).astype(np.float32)
    if not inside.any() or mask[inside > 0].mean() < _LEAST_COVERED:
        return "no person is recognised around the face"
    if matte is None:
        matte = estimate_matte(image, mask, inside > 0, face.pose.iod)
    if matte.uncertain > _MOST_UNCERTAIN:
        return "the outline of the person is not clear"
    layers = _build(image, matte, oval, face.pose.iod)
    up = (oval - oval.mean(axis=0)) @ (face.pose.rotation[:2, 1] * (1, -1)) > 0
    if (layers.extent[up] >= FARTHEST).mean() > _MOST_CROWDED:
        return "the head does not stand out from what is around it"
    return layers


@lru_cache(maxsize=1)
def _segmenter() -> PersonSegmenter:
    return PersonSegmenter()


def _build(image: Image, matte: Matte, oval: Floats, iod: float) -> Layers:
    background = image.copy()
    _remove_person(image, matte.alpha, matte.foreground, _MOST_REMOVED, background)
    # A sharpened photo has a light line around the person, which would stay behind.
    reach = 2 * max(1, round(_HALO * iod)) + 1
    near = cv2.dilate((matte.alpha > 0.5).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    hole = (matte.alpha > _MOST_REMOVED) | (near & ~matte.surely_background)
    background = fill_background(background, hole, matte.surely_background, iod)
    opacity = _confirm_opacity(image, matte.foreground, background, matte.alpha)
    for border in (opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]):
        if border.max() <= OPAQUE_BORDER:
            border[:] = 0  # it is repeated beyond the border
    person = np.dstack([matte.foreground, opacity])
    above = continue_crown(person, oval, iod)
    extent = _measure_extent(np.concatenate([above[..., 3], opacity]), oval + np.array([0, len(above)]))
    return Layers(person, above, background, image.copy(), extent, matte.doubt > _MOST_DOUBT)


@kernel
def _remove_person(image: Image, alpha: Floats32, foreground: Image, most: float, out: Image) -> None:
    """Compute what remains without the person where little of it, up to `most`, lies over the background."""
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            a = alpha[y, x]
            if a > 0:
                scale = np.float32(1) / max(1 - a, np.float32(1 - most))
                for c in range(3):
                    value = (np.float32(image[y, x, c]) - a * np.float32(foreground[y, x, c])) * scale
                    out[y, x, c] = np.uint8(min(max(value, _NONE), _MOST) + np.float32(0.5))


def _confirm_opacity(image: Image, foreground: Image, background: Image, alpha: Floats32) -> Image:
    """Return the opacity (H, W) 0…255 at which the layers together give the image, but at least `alpha`.

    Where the mask takes hair or clothes for background, they would turn transparent as soon as they move.
    """
    opacity = np.empty(alpha.shape, np.uint8)
    _explain_image(image, foreground, background, alpha, opacity)
    return opacity


@kernel
def _explain_image(image: Image, foreground: Image, background: Image, alpha: Floats32, out: Image) -> None:
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            share = alpha[y, x]
            if share > _MAY_BE and share < 1:
                size = along = np.float32(0)
                for c in range(3):
                    under = np.float32(background[y, x, c])
                    change = np.float32(foreground[y, x, c]) - under
                    size += change * change
                    along += change * (np.float32(image[y, x, c]) - under)
                if size > _DISTINCT * _DISTINCT:
                    share = max(share, min(along / size, _ALL))
            out[y, x] = np.uint8(_MOST * share + np.float32(0.5))


def _cover(picture: Image, width: int, height: int) -> Image:
    """Return the middle of a picture, scaled to cover (height, width)."""
    h, w = picture.shape[:2]
    scale = max(width / w, height / h)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = max(width, round(w * scale)), max(height, round(h * scale))
    scaled = cv2.resize(picture, size, interpolation=method)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def _measure_extent(opacity: Image, oval: Floats) -> Floats:
    """Return, for each landmark of the oval, where the person ends on the ray from the centre, in oval radii."""
    centre = oval.mean(axis=0)
    steps = np.linspace(1, FARTHEST, 101)
    at = centre + steps[:, None, None] * (oval - centre)
    height, width = opacity.shape
    x, y = np.rint(at[..., 0]).astype(int), np.rint(at[..., 1]).astype(int)
    is_person = opacity[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] > _BARELY
    is_person &= (x >= 0) & (y >= 0) & (x < width) & (y < height)
    ends = np.where(is_person.all(axis=0), len(steps) - 1, np.argmin(is_person, axis=0))
    extent: Floats = steps[ends]
    return extent


@kernel
def compose(
    person: Image,
    blurred: Image,
    moved: Floats32,
    sharpening: float,
    background: Image,
    still: Image,
    out: Image,
    place: tuple[int, int],
    out_place: tuple[int, int],
) -> None:
    """Lay the sampled person over the background, within a window; over a transparent one, keep its opacity.

    Args:
        person: (h, w, 4) sampled colours and opacity.
        blurred: (h, w, 4) of `texture.blur`, for sharpening.
        moved: (h, w) amount of motion, of `raster.rasterise`.
        sharpening: amount, see `raster.sharpen`.
        background: (H, W, 3), or (H, W, 4) transparent.
        still: likewise, what is shown where nothing moves.
        out: output, a part of the image that holds the window.
        place: x, y of the window in the image.
        out_place: x, y of `out` in the image.
    """
    height, width = moved.shape
    left, top = place
    dx, dy = left - out_place[0], top - out_place[1]
    channels = out.shape[2]
    copied = channels == 3 and sharpening == 0
    for y in range(height):
        for x in range(width):
            if copied and person[y, x, 3] == 255:  # most pixels
                for c in range(3):
                    out[y + dy, x + dx, c] = person[y, x, c]
                continue
            share = min(moved[y, x], _ALL)
            if share == 0 and person[y, x, 3] < 255:  # else the eyes may have been redrawn
                for c in range(channels):
                    out[y + dy, x + dx, c] = still[y + top, x + left, c]
                continue
            opacity = np.float32(blurred[y, x, 3] if moved[y, x] > 1 else person[y, x, 3])
            opacity = min(max((opacity - _CLEAR) * _SCALE, _NONE), _ALL)
            if opacity == 0 and share == 1:
                for c in range(channels):
                    out[y + dy, x + dx, c] = background[y + top, x + left, c]
                continue
            strength = -_ALL if moved[y, x] > 1 else np.float32(sharpening) * share
            if channels == 4:
                before = np.float32(still[y + top, x + left, 3])
                after = np.float32(255) * opacity
                out[y + dy, x + dx, 3] = np.uint8(before + share * (after - before) + np.float32(0.5))
            if (opacity == 1 or channels == 4) and strength == 0:
                for c in range(3):
                    out[y + dy, x + dx, c] = person[y, x, c]
                continue
            for c in range(3):
                value = np.float32(person[y, x, c])
                value += strength * (value - np.float32(blurred[y, x, c]))
                if opacity < 1 and channels == 3:
                    under = np.float32(background[y + top, x + left, c])
                    rest = np.float32(still[y + top, x + left, c])
                    value = under + opacity * (value - under)
                    value = rest + share * (value - rest)
                out[y + dy, x + dx, c] = np.uint8(min(max(value + np.float32(0.5), _NONE), _MOST))
