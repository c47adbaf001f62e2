"""Irises that look elsewhere (docs/method/embedded_renderer.md, Irises)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...arrays import Flags, Floats, Floats32, Image
from ...system.jit import kernel
from .fill import fill_harmonic
from .shading import ramp, sample_bilinear


class Iris(NamedTuple):
    """The eyeball of a patch (h, w); X along the corners, Y up, px."""

    source: Image
    eyeball: Floats32
    """(h, w, 3) without catch lights, extrapolated under the lids."""
    light: Floats32
    """(h, w, 3) catch lights, to be added."""
    x: Floats32
    y: Floats32
    upper: Floats32
    lower: Floats32
    inside: Floats32
    """(h, w) 0…1 between the corners."""
    centre_x: np.float32
    centre_y: np.float32
    radius: np.float32


def find_iris(
    image: Image, x: Floats32, y: Floats32, upper: Floats32, lower: Floats32, inside: Floats32, iris: Floats
) -> Iris:
    """Return the eyeball; `iris` (3,) is centre X, Y and radius."""
    source = image.astype(np.float32)
    opening: Flags = (y < upper - 1.0) & (y > lower + 1.0) & (inside >= 1)
    eyeball = source
    if opening.sum() >= 12:
        near = cv2.dilate(opening.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(2, round(iris[2] * 0.7)))
        mean = source[opening].mean(0)
        eyeball = fill_harmonic(np.where(opening[..., None], source, mean), (near > 0) & ~opening)
    light = np.zeros_like(source)
    centre_x, centre_y, radius = (np.float32(v) for v in iris)
    return Iris(image, eyeball, light, x, y, upper, lower, inside, centre_x, centre_y, radius)


@kernel
def draw_eyeball(out: Image, iris: Iris, shift_x: float, shift_y: float) -> None:
    """Draw the eyeball (h, w, 3) with the iris shifted; `out` is a copy of the source."""
    source, eyeball, light, grid_x, grid_y, upper, lower, inside, centre_x, centre_y, radius = iris
    height, width = grid_x.shape
    step_xx, step_xy = grid_x[0, 1] - grid_x[0, 0], grid_x[1, 0] - grid_x[0, 0]
    step_yx, step_yy = grid_y[0, 1] - grid_y[0, 0], grid_y[1, 0] - grid_y[0, 0]
    for py in range(height):
        for px in range(width):
            x, y = grid_x[py, px], grid_y[py, px]
            # Near the lids the source's own soft edge is kept.
            rim = min(max(min(upper[py, px] - y, y - lower[py, px]) - 0.5, 0.0), 1.0) * inside[py, px]
            if rim <= 0:
                continue
            away = np.sqrt((x - centre_x - shift_x) ** 2 + (y - centre_y - shift_y) ** 2)
            far = 1.0 - ramp(1.05 * radius, 2.0 * radius, away)
            shift = -shift_x * far, -shift_y * far
            bx = px + shift[0] * step_xx + shift[1] * step_yx
            by = py + shift[0] * step_xy + shift[1] * step_yy
            for c in range(3):
                old = float(source[py, px, c])
                value = sample_bilinear(eyeball, by, bx, c) + light[py, px, c]
                out[py, px, c] = np.uint8(min(max(old + (value - old) * rim + 0.5, 0.0), 255.0))
