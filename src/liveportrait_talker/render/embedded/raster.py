"""Rasterisation of the moved mesh to a backward map, and sharpening of the sampled image."""

from __future__ import annotations

import numpy as np

from ...arrays import Floats, Floats32, Image, Integers
from ...system.jit import inlined, kernel

_FAR = np.float32(3)  # px by which the displacements of neighbouring pixels differ at the rim of a cheek
_NO_LIFT = np.zeros(0, np.float32)
_ONE, _TWO = np.float32(1), np.float32(2)
_BACK_FACE_DEPTH = np.float32(1e4)  # subtracted, so that back faces show only where there is nothing else


@inlined
def _span(value: float, step: float, first: int, last: int) -> tuple[int, int]:
    """Return the part of first … last within which value + n · step is not negative."""
    if step > 1e-12:
        first = max(first, int(np.ceil((-1e-4 - value) / step)))
    elif step < -1e-12:
        last = min(last, int(np.floor((-1e-4 - value) / step)))
    elif value < -1e-4:
        last = first - 1
    return first, last


@kernel
def rasterise(
    corner_x: int,
    corner_y: int,
    texture_x: int,
    texture_y: int,
    factor: int,
    position: Floats32,
    displacement: Floats32,
    depth: Floats32,
    triangles: Integers,
    border_x: Floats32,
    border_y: Floats32,
    map_x: Floats32,
    map_y: Floats32,
    nearest: Floats32,
    each_axis: bool = False,
    lift: Floats32 = _NO_LIFT,
) -> None:
    """Compute the backward map of a window: the texture position that each pixel is sampled from.

    Args:
        corner_x: left edge of the window, image px.
        corner_y: top edge of the window, image px.
        texture_x: left edge of the enlarged texture, image px.
        texture_y: top edge of the enlarged texture, image px.
        factor: texture px per image px.
        position: (V, 2) source vertices, px.
        displacement: (V, 2) px.
        depth: (V,) larger is nearer.
        triangles: (N, 3) triangles to draw.
        border_x: (W,) weight of the motion at each image column, 0 at the border.
        border_y: (H,) weight of the motion at each image row.
        map_x: (h, w) output, x in the enlarged texture.
        map_y: (h, w) output, y in the enlarged texture.
        nearest: (h, w) output, amount of motion: 0 at rest, 1 from half a pixel on, 2 where a neighbour comes from
            far away, as at the rim of a cheek. Used as depth buffer before.
        each_axis: `border_x` holds for motion in x only, and `border_y` for motion in y; else both for both.
        lift: (H,) by how much each image row moves up besides, px, or empty.
    """
    height, width = map_x.shape
    map_x[:] = 0
    map_y[:] = 0
    nearest[:] = -1e9
    for n in range(triangles.shape[0]):
        a, b, c = triangles[n, 0], triangles[n, 1], triangles[n, 2]
        ax = position[a, 0] + displacement[a, 0] - corner_x
        ay = position[a, 1] + displacement[a, 1] - corner_y
        bx = position[b, 0] + displacement[b, 0] - corner_x
        by = position[b, 1] + displacement[b, 1] - corner_y
        cx = position[c, 0] + displacement[c, 0] - corner_x
        cy = position[c, 1] + displacement[c, 1] - corner_y
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-6:
            continue
        x0 = max(int(np.ceil(min(ax, bx, cx))), 0)
        x1 = min(int(np.floor(max(ax, bx, cx))), width - 1)
        y0 = max(int(np.ceil(min(ay, by, cy))), 0)
        y1 = min(int(np.floor(max(ay, by, cy))), height - 1)
        if x0 > x1 or y0 > y1:
            continue
        inverse = 1.0 / area
        behind = _BACK_FACE_DEPTH if area > 0 else np.float32(0)  # y points down: front faces have negative area
        step_b, step_c = (cy - ay) * inverse, -(by - ay) * inverse  # change of the weights of b, c per px in x
        dax, day, da = displacement[a, 0], displacement[a, 1], depth[a] - behind
        dbx, dby, db = displacement[b, 0] - dax, displacement[b, 1] - day, depth[b] - depth[a]
        dcx, dcy, dc = displacement[c, 0] - dax, displacement[c, 1] - day, depth[c] - depth[a]
        for y in range(y0, y1 + 1):
            wb = ((x0 - ax) * (cy - ay) - (cx - ax) * (y - ay)) * inverse
            wc = ((bx - ax) * (y - ay) - (x0 - ax) * (by - ay)) * inverse
            first, last = _span(wb, step_b, 0, x1 - x0)
            first, last = _span(wc, step_c, first, last)
            first, last = _span(1 - wb - wc, -step_b - step_c, first, last)
            for n_x in range(first, last + 1):
                x = x0 + n_x
                b, c = wb + n_x * step_b, wc + n_x * step_c
                z = da + b * db + c * dc
                if z > nearest[y, x]:
                    nearest[y, x] = z
                    map_x[y, x] = dax + b * dbx + c * dcx
                    map_y[y, x] = day + b * dby + c * dcy
    scale, offset_x, offset_y = np.float32(factor), np.float32(corner_x - texture_x), np.float32(corner_y - texture_y)
    for y in range(height):
        for x in range(width):
            weight_x, weight_y = border_x[corner_x + x], border_y[corner_y + y]
            if not each_axis:
                weight_x = weight_y = weight_x * weight_y
            dx, dy = weight_x * map_x[y, x], weight_y * map_y[y, x]
            if len(lift):
                dy -= lift[corner_y + y]
            nearest[y, x] = min(_TWO * (abs(dx) + abs(dy)), _ONE)
            map_x[y, x] = scale * (offset_x + np.float32(x) - dx)
            map_y[y, x] = scale * (offset_y + np.float32(y) - dy)
    far = _FAR * scale
    for y in range(height - 1):
        for x in range(width - 1):
            here_x, here_y = map_x[y, x], map_y[y, x]
            if abs(map_x[y, x + 1] - here_x - scale) + abs(map_y[y, x + 1] - here_y) > far:
                nearest[y, x] = nearest[y, x + 1] = _TWO
            if abs(map_x[y + 1, x] - here_x) + abs(map_y[y + 1, x] - here_y - scale) > far:
                nearest[y, x] = nearest[y + 1, x] = _TWO


@kernel
def sharpen(
    pixels: Image,
    blurred: Image,
    moved: Floats32,
    amount: float,
) -> None:
    """Sharpen `pixels` (h, w, 3) in place by unsharp masking.

    Args:
        pixels: changed in place.
        blurred: (h, w, 3) of `texture.blur`.
        moved: (h, w) weight, 0…1; 2 to blur instead.
        amount: of the difference to `blurred` that is added.
    """
    height, width = moved.shape
    for y in range(height):
        for x in range(width):
            strength = -1.0 if moved[y, x] > 1 else amount * moved[y, x]
            if strength != 0:
                for c in range(3):
                    value = float(pixels[y, x, c])
                    value += strength * (value - float(blurred[y, x, c])) + 0.5
                    pixels[y, x, c] = np.uint8(min(max(value, 0.0), 255.0))


def moving_window(
    position: Floats, displacement: Floats, triangles: Integers, size: tuple[int, int]
) -> tuple[Integers, tuple[int, int, int, int]] | None:
    """Return the triangles that move and their window (left, top, right, bottom; ends excluded), or None at rest."""
    moves = np.abs(displacement).max(axis=1) > 1e-3
    active = triangles[moves[triangles].any(axis=1)]
    if not len(active):
        return None
    corners = (position + displacement)[np.unique(active)]
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, size)
    if (high <= low).any():
        return None
    return active, (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
