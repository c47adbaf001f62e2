"""Rasterisation of the moved mesh to a backward map, and sharpening of the sampled image."""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Image, Integers
from ...system.jit import inlined, kernel
from .bands import Window

_FAR = np.float32(3)  # px by which the displacements of neighbouring pixels differ at the rim of a cheek
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
    columns: Floats32,
    rows: Floats32,
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
    each_axis: bool,
    lift: Floats32,
) -> None:
    """Compute the backward map of a grid of points: the texture position that each is sampled from.

    Args:
        columns: (w,) x of the grid's columns, image px, evenly spaced.
        rows: (h,) y of the grid's rows, likewise.
        texture_x: left edge of the enlarged texture, image px.
        texture_y: top edge of the enlarged texture, image px.
        factor: texture px per image px.
        position: (V, 2) source vertices, px.
        displacement: (V, 2) px.
        depth: (V,) larger is nearer.
        triangles: (N, 3) triangles to draw.
        border_x: (w,) weight of the motion at each column, 0 at the image's border.
        border_y: (h,) weight of the motion at each row.
        map_x: (h, w) output, x in the enlarged texture.
        map_y: (h, w) output, y in the enlarged texture.
        nearest: (h, w) output, amount of motion: 0 at rest, 1 from half a pixel on, 2 where a neighbour comes from
            far away, as at the rim of a cheek. Used as depth buffer before.
        each_axis: `border_x` holds for motion in x only, and `border_y` for motion in y; else both for both.
        lift: (h,) by how much each row moves up besides, px.
    """
    height, width = map_x.shape
    step = columns[1] - columns[0]
    map_x[:] = 0
    map_y[:] = 0
    nearest[:] = -1e9
    for n in range(triangles.shape[0]):
        a, b, c = triangles[n, 0], triangles[n, 1], triangles[n, 2]
        ax = (position[a, 0] + displacement[a, 0] - columns[0]) / step
        ay = (position[a, 1] + displacement[a, 1] - rows[0]) / step
        bx = (position[b, 0] + displacement[b, 0] - columns[0]) / step
        by = (position[b, 1] + displacement[b, 1] - rows[0]) / step
        cx = (position[c, 0] + displacement[c, 0] - columns[0]) / step
        cy = (position[c, 1] + displacement[c, 1] - rows[0]) / step
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
        step_b, step_c = (cy - ay) * inverse, -(by - ay) * inverse  # change of the weights of b, c per column
        dax, day, da = displacement[a, 0], displacement[a, 1], depth[a] - behind
        dbx, dby, db = displacement[b, 0] - dax, displacement[b, 1] - day, depth[b] - depth[a]
        dcx, dcy, dc = displacement[c, 0] - dax, displacement[c, 1] - day, depth[c] - depth[a]
        step_x = np.float32(step_b * dbx + step_c * dcx)
        step_y = np.float32(step_b * dby + step_c * dcy)
        step_z = np.float32(step_b * db + step_c * dc)
        for y in range(y0, y1 + 1):
            wb = ((x0 - ax) * (cy - ay) - (cx - ax) * (y - ay)) * inverse
            wc = ((bx - ax) * (y - ay) - (x0 - ax) * (by - ay)) * inverse
            first, last = _span(wb, step_b, 0, x1 - x0)
            first, last = _span(wc, step_c, first, last)
            first, last = _span(1 - wb - wc, -step_b - step_c, first, last)
            dx, dy = np.float32(dax + wb * dbx + wc * dcx), np.float32(day + wb * dby + wc * dcy)
            dz = np.float32(da + wb * db + wc * dc)
            for n_x in range(first, last + 1):
                x, far = x0 + n_x, np.float32(n_x)
                z = dz + far * step_z
                if z > nearest[y, x]:
                    nearest[y, x] = z
                    map_x[y, x] = dx + far * step_x
                    map_y[y, x] = dy + far * step_y
    scale = np.float32(factor)
    for y in range(height):
        for x in range(width):
            weight_x, weight_y = border_x[x], border_y[y]
            if not each_axis:
                weight_x = weight_y = weight_x * weight_y
            dx, dy = weight_x * map_x[y, x], weight_y * map_y[y, x] - lift[y]
            nearest[y, x] = min(_TWO * (abs(dx) + abs(dy)), _ONE)
            map_x[y, x] = scale * (columns[x] - np.float32(texture_x) - dx)
            map_y[y, x] = scale * (rows[y] - np.float32(texture_y) - dy)
    apart, most = scale * step, _FAR * scale * step
    for y in range(height - 1):
        for x in range(width - 1):
            here_x, here_y = map_x[y, x], map_y[y, x]
            if abs(map_x[y, x + 1] - here_x - apart) + abs(map_y[y, x + 1] - here_y) > most:
                nearest[y, x] = nearest[y, x + 1] = _TWO
            if abs(map_x[y + 1, x] - here_x) + abs(map_y[y + 1, x] - here_y - apart) > most:
                nearest[y, x] = nearest[y + 1, x] = _TWO


class BackwardMap:
    """The backward map of a window, rasterised on a grid of every `step`-th pixel and interpolated between them."""

    def __init__(
        self,
        window: Window,
        step: int,
        corner: tuple[int, int],
        factor: int,
        position: Floats32,
        displacement: Floats32,
        depth: Floats32,
        triangles: Integers,
        border_x: Floats32,
        border_y: Floats32,
        *,
        each_axis: bool,
        lift: Floats32,
    ) -> None:
        """Rasterise.

        Args:
            window: left, top, right, bottom, image px.
            step: px between the points of the grid.
            corner: left and top edge of the enlarged texture, image px.
            factor: texture px per image px.
            position: see `rasterise`, as the next three.
            displacement: px.
            depth: larger is nearer.
            triangles: to draw.
            border_x: (W,) weight of the motion at each column of the image.
            border_y: (H,) weight of the motion at each row.
            each_axis: see `rasterise`.
            lift: (H,) by how much each row moves up besides, px.
        """
        self.window, self._step = window, step
        left, top, right, bottom = window
        columns, rows = _grid(left, right, step), _grid(top, bottom, step)
        self._maps = np.empty((3, len(rows), len(columns)), np.float32)
        rasterise(
            columns,
            rows,
            *corner,
            factor,
            position,
            displacement,
            depth,
            triangles,
            _at(columns, border_x),
            _at(rows, border_y),
            *self._maps,
            each_axis,
            _at(rows, lift),
        )

    def of(self, band: Window) -> list[Floats32]:
        """Return x, y and amount of motion (`rasterise`) of a part of the window and one pixel around it.

        It begins at the window's corner plus a multiple of `step`.
        """
        left, top = band[0] - self.window[0], band[1] - self.window[1]
        width, height = band[2] - band[0] + 2, band[3] - band[1] + 2
        step = self._step
        x, y = left // step, top // step
        if step == 1:
            return [each[y : y + height, x : x + width] for each in self._maps]
        across, down = -(-width // step) + 2, -(-height // step) + 2
        parts = self._maps[:, y : y + down, x : x + across]
        size = step * parts.shape[2], step * parts.shape[1]
        inside = np.s_[step - 1 : step - 1 + height, step - 1 : step - 1 + width]
        return [cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)[inside] for part in parts]


def _grid(first: int, end: int, step: int) -> Floats32:
    """Return the centres of the cells of `step` px that cover first … end, and of another one on each side."""
    cells = -(-(end - first) // step)
    centres: Floats = first + (step - 1) / 2 + step * np.arange(-1, cells + 1)
    return centres.astype(np.float32)


def _at(places: Floats32, values: Floats32) -> Floats32:
    """Return the values of an axis between its pixels."""
    return np.interp(places, np.arange(len(values)), values).astype(np.float32)


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
) -> tuple[Integers, Window] | None:
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
