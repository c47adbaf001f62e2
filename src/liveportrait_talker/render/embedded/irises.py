"""Irises that look elsewhere (docs/method/embedded_renderer.md, Irises).

An eyeball is white · iris + catch lights. The iris, as brightness relative to the white, moves with the gaze; the
catch lights are mirror images of lamps and windows and follow by a quarter of it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...arrays import Flags, Floats, Floats32, Image
from ...motion.smoothing import smoothstep
from ...system.jit import kernel
from .fill import fill_harmonic
from .shading import ramp, sample_bilinear

_EDGE = (1.06, 1.2)  # iris radii within which the iris moves as a whole, and beyond which nothing moves
_SOFT = 0.15  # iris radii over which the eyeball gives way to the lids
_RIM_CONTRAST = 40.0  # levels by which the white is brighter, per iris radius
_LIGHT_SIZE = 0.7  # iris radii: what is bright and smaller is a catch light
_LIGHT = (20.0, 50.0)  # levels above the iris: no catch light below the first, all of it above the second
_LIGHT_WITHIN = (0.5, 0.8)  # iris radii: farther out the white of the eye looks like one
_LIGHT_SHARE = 0.25  # of the iris's motion


class Eyeball(NamedTuple):
    """The layers of an eyeball in a patch (h, w, …); X along the corners, Y up, px."""

    source: Image
    white: Floats32
    """(h, w, 3) without iris, extrapolated under the lids."""
    iris: Floats32
    """(h, w, 3) brightness relative to `white`; 1 beside the iris."""
    light: Floats32
    """(h, w, 3) catch lights, to be added."""
    seen: Floats32
    """(h, w) 0…1 between the lids."""
    unit_x: tuple[np.float32, np.float32]
    """Step of one X in patch px, x and y."""
    unit_y: tuple[np.float32, np.float32]


def separate_eyeball(
    image: Image, x: Floats, y: Floats, upper: Floats, lower: Floats, beyond: Floats, *, iris: Floats
) -> Eyeball:
    """Return the layers of a patch.

    Args:
        image: (h, w, 3).
        x: (h, w) of each pixel, as `y`.
        y: (h, w).
        upper: (h, w) Y of the upper lid.
        lower: (h, w) Y of the lower lid.
        beyond: (h, w) 0…1 eyeball below and beside these curves.
        iris: (3,) X and Y of the centre, radius, as the landmarks have it.
    """
    source = image.astype(np.float32)
    between = np.minimum(upper - y, y - lower)
    soft = max(1.0, _SOFT * float(iris[2]))
    seen = np.maximum(np.clip((between - 0.5) / soft, 0, 1), beyond).astype(np.float32)
    opening: Flags = (between >= 1) | (beyond >= 0.5)
    centre_x, radius = _measure_iris(source, x - iris[0], y - iris[1], opening, max(float(iris[2]), 1.0))
    away = np.hypot(x - iris[0] - centre_x, y - iris[1]) / radius
    size = max(3, round(_LIGHT_SIZE * radius)) | 1
    light = _find_light(source, opening & (away < 1), size) * (1 - smoothstep(*_LIGHT_WITHIN, away))[..., None]
    calm = source - light.astype(np.float32)
    white = _grow(calm, opening & (away > _EDGE[1]), fallback=opening)
    ratio = _grow(np.clip((calm + 4) / (white + 4), 0, 1.6), opening, fallback=opening)
    ratio += ((1 - ratio) * smoothstep(*_EDGE, away)[..., None]).astype(np.float32)
    unit_x = np.float32(x[0, 1] - x[0, 0]), np.float32(x[1, 0] - x[0, 0])
    unit_y = np.float32(y[0, 1] - y[0, 0]), np.float32(y[1, 0] - y[0, 0])
    return Eyeball(image, white, ratio, light.astype(np.float32), seen, unit_x, unit_y)


def _measure_iris(source: Floats, x: Floats, y: Floats, opening: Flags, radius: float) -> tuple[float, float]:
    """Return X of the iris's centre and its radius, px, from where it is darker than the white on its left and right.

    Args:
        source: (h, w, 3).
        x: (h, w) from the landmark of the centre, as `y`.
        y: (h, w).
        opening: (h, w).
        radius: by the landmarks, which is kept where the image shows no rim.
    """
    luma, away = source.mean(axis=-1), np.hypot(x, y)
    steps = np.arange(0.7 * radius, 1.8 * radius, max(0.05 * radius, 0.2))
    rims = []
    for side in (-1, 1):
        sector = opening & (side * x > 0.75 * away)
        if sector.sum() < 12:
            return 0.0, radius
        weight = np.exp(-0.5 * ((away[sector] - steps[:, None]) / max(0.06 * radius, 0.6)) ** 2)
        total = weight.sum(axis=1)
        rise = np.gradient(weight @ luma[sector] / np.maximum(total, 1e-6), steps) * (total > 0.3 * total.max())
        peaks = np.flatnonzero((rise >= np.roll(rise, 1)) & (rise >= np.roll(rise, -1)) & (rise > 0.6 * rise.max()))
        if not len(peaks) or rise[peaks[-1]] * radius < _RIM_CONTRAST:
            return 0.0, radius
        rims.append(float(steps[peaks[-1]]))  # the innermost may be the pupil's
    left, right = rims
    if abs(left - right) > 0.2 * (left + right):
        return 0.0, radius
    return 0.5 * (right - left), 0.5 * (left + right)


def _grow(values: Floats, known: Flags, *, fallback: Flags) -> Floats32:
    """Return values (h, w, 3) grown from where they are `known`, or from `fallback` where that is hardly anywhere."""
    return fill_harmonic(values, ~(known if known.sum() >= 12 else fallback))


def _find_light(source: Floats32, disc: Flags, size: int) -> Floats32:
    """Return (h, w, 3) what bright spots smaller than `size` px add to the iris."""
    if disc.sum() < 12:
        return np.zeros_like(source)
    dark = np.where(disc[..., None], source, np.percentile(source[disc], 40, axis=0)).astype(np.uint8)
    calm = cv2.morphologyEx(dark, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    dark = dark.astype(np.float32)
    calm = np.minimum(cv2.GaussianBlur(calm.astype(np.float32), (0, 0), 0.2 * size), dark)
    excess = (dark.min(axis=-1) - calm.min(axis=-1))[..., None]  # of the weakest channel: they are white
    return np.asarray((dark - calm) * smoothstep(*_LIGHT, excess), np.float32)


@kernel
def draw_eyeball(out: Image, eyeball: Eyeball, shift: tuple[float, float]) -> None:
    """Draw the eyeball with its iris shifted by X, Y to `out` (h, w, 3)."""
    source, white, iris, light, seen, unit_x, unit_y = eyeball
    height, width = seen.shape
    back_x = shift[0] * unit_x[0] + shift[1] * unit_y[0]
    back_y = shift[0] * unit_x[1] + shift[1] * unit_y[1]
    for py in range(height):
        for px in range(width):
            if seen[py, px] <= 0:
                for c in range(3):
                    out[py, px, c] = source[py, px, c]
                continue
            light_y, light_x = py - _LIGHT_SHARE * back_y, px - _LIGHT_SHARE * back_x
            darkest = 1.0
            for c in range(3):
                darkest = min(darkest, sample_bilinear(iris, py - back_y, px - back_x, c))
            shown = 1.0 - ramp(0.7, 1.0, darkest)  # none on the white
            for c in range(3):
                value = (white[py, px, c] + 4.0) * sample_bilinear(iris, py - back_y, px - back_x, c) - 4.0
                value += shown * sample_bilinear(light, light_y, light_x, c)
                old = float(source[py, px, c])
                out[py, px, c] = np.uint8(min(max(old + (value - old) * seen[py, px] + 0.5, 0.0), 255.0))
