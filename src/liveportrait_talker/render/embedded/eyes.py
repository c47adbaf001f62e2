"""Lids and irises, edited in the source picture itself; the one warp then carries them.

Moving lid vertices would stretch lashes and crease into streaks. Instead a smooth lid is grown from the skin
around the eye once, and each frame shows as much of it as the blink asks for, with the picture's own lash line
riding on its edge. Coordinates: X along the eye's corners (picture left to right), Y up, picture px.
Source: spec/embedded.md §2.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ...arrays import Floats, Image
from ...face.tracked import TrackedFace
from ...system.jit import kernel
from .fill import harmonic_fill
from .shading import ramp, sample

_UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
_LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
_BROW = ((53, 52, 65), (283, 282, 295))  # the brows' lower line
_IRIS = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
_TRAVEL_X, _TRAVEL_UP, _TRAVEL_DOWN = 0.14, 0.07, 0.08  # of the eye's width, at full gaze
_UPPER_SHARE, _LOWER_SHARE = 0.85, 0.15  # of a closing
_OVERLAP = 0.012  # IOD: the lids close a little past touching
_SAMPLES = 128
_BESIDE = 0.20  # the lid and its lashes reach this far beyond the corners, in eye widths


class Eye:
    """One eye of a portrait, ready to be redrawn inside its patch."""

    def __init__(self, image: Image, face: TrackedFace, side: int) -> None:
        """`side` 0 = the eye at the picture's left, 1 = at its right."""
        self.side = side
        iod = face.pose.iod
        points = face.landmarks[:, :2].astype(np.float64)
        upper, lower = points[list(_UPPER[side])], points[list(_LOWER[side])]
        along = upper[-1] - upper[0]
        self._width = float(np.linalg.norm(along))
        self._iod = iod
        axis_x = along / max(self._width, 1e-6)
        axis_y = np.array([axis_x[1], -axis_x[0]])  # up in the picture
        height, width = image.shape[:2]
        margin = 0.5 * self._width
        low = np.minimum(upper.min(0), lower.min(0)) - margin
        high = np.maximum(upper.max(0), lower.max(0)) + margin
        self.left, self.top = (int(v) for v in np.maximum(np.floor(low), 0))
        right, bottom = (int(v) for v in np.minimum(np.ceil(high) + 1, (width, height)))
        self.right, self.bottom = max(right, self.left + 1), max(bottom, self.top + 1)
        self.box = (self.left, self.top, self.right, self.bottom)
        self.usable = self._width >= 5 and right - self.left >= 8 and bottom - self.top >= 8
        if not self.usable:
            return
        self.source = np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])
        rows, columns = np.mgrid[self.top : self.bottom, self.left : self.right].astype(np.float64)
        offset = np.stack([columns, rows], axis=-1) - upper[0]
        self._x, self._y = (offset @ axis_x).astype(np.float32), (offset @ axis_y).astype(np.float32)
        grid = np.linspace(0, self._width, _SAMPLES)
        self._upper = _lid((upper - upper[0]) @ axis_x, (upper - upper[0]) @ axis_y, grid)
        self._lower = np.minimum(_lid((lower - upper[0]) @ axis_x, (lower - upper[0]) @ axis_y, grid), self._upper)
        brow_gap = float(((points[list(_BROW[side])] - points[_UPPER[side][4]]) @ axis_y).mean())
        self._band = float(np.clip(0.6 * brow_gap, 0.02 * iod, 0.11 * iod))
        iris = points[list(_IRIS[side])]
        self._iris = ((iris[0] - upper[0]) @ axis_x, (iris[0] - upper[0]) @ axis_y)
        self._iris_radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
        self._grow_layers()

    def _grow_layers(self) -> None:
        """The lid's skin, the eyeball behind the rims, and the lash line as a ratio of the two."""
        source = self.source.astype(np.float32)
        x = np.clip(self._x / self._width * (_SAMPLES - 1), 0, _SAMPLES - 1)
        u0 = np.interp(x, np.arange(_SAMPLES), self._upper).astype(np.float32)
        l0 = np.interp(x, np.arange(_SAMPLES), self._lower).astype(np.float32)
        beside = np.maximum(np.maximum(-self._x, self._x - self._width), 0) / (_BESIDE * self._width)
        taper = np.sqrt(np.maximum(1 - beside**2, 0))  # the region rounds off beyond the corners
        inside = (self._y < u0 + self._band * taper) & (self._y > l0 - 0.035 * self._iod * taper) & (beside < 1)
        self._plate = harmonic_fill(source, inside | self._make_up(source, inside))
        opening = (self._y < u0 - 1.0) & (self._y > l0 + 1.0) & (self._x > 0) & (self._x < self._width)
        if opening.sum() >= 12:
            near = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            self._ball = harmonic_fill(np.where(opening[..., None], source, source[opening].mean(0)), near & ~opening)
        else:
            self._ball = source
        darkness = (source + 4) / (self._plate + 4)
        self._lash = np.minimum(darkness.min(axis=-1, keepdims=True), 1.0).astype(np.float32)
        self._grain = self._skin_grain(source, inside)

    def _skin_grain(self, source: Floats, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """(h, w) fine detail for the grown lid: that of the skin below the eye."""
        grey = source.mean(axis=-1)
        fine = grey - cv2.GaussianBlur(grey, (0, 0), max(1.2, 0.02 * self._iod))
        skin = ~inside
        spread = float(np.median(np.abs(fine[skin]))) / 0.6745 if skin.any() else 0.0
        clean = np.where(skin, np.clip(fine, -2.2 * spread, 2.2 * spread), 0)
        # The cheek at the patch's foot, brought up to the lid; beyond the foot it runs back.
        last = len(clean) - 1
        rows: npt.NDArray[np.integer[Any]] = np.arange(len(clean)) + round(0.38 * len(clean))
        rows = np.where(rows > last, 2 * last - rows, rows)
        brought_up: npt.NDArray[np.float32] = clean[rows].astype(np.float32)
        return brought_up

    def _make_up(self, source: Floats, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Lashes, liner and shadow around the eye: bare lids must not be grown from them."""
        reach = max(3, round(0.10 * self._iod)) | 1
        around = cv2.dilate(inside.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        luma = source.mean(axis=-1)
        ring = around & ~inside
        if not ring.any():
            return inside & False
        return np.asarray(ring & (luma < 0.85 * np.percentile(luma[ring], 65)), np.bool_)

    def drawn(self, blink: float, gaze: Floats) -> Image:
        """The patch (bottom − top, right − left, 3) with the lid `blink` closed (0…1) and the iris moved by `gaze`."""
        if not self.usable or (blink <= 0 and not np.any(gaze)):
            return self.source
        shift_x = float(gaze[0]) * _TRAVEL_X * self._width
        shift_y = float(gaze[1]) * (_TRAVEL_UP if gaze[1] > 0 else _TRAVEL_DOWN) * self._width
        out = np.empty_like(self.source)
        _draw(
            out,
            self.source,
            self._plate,
            self._ball,
            self._lash,
            self._grain,
            self._x,
            self._y,
            self._upper,
            self._lower,
            np.float32(self._width),
            np.float32(self._iod),
            np.float32(self._band),
            np.float32(min(max(blink, 0.0), 1.0)),
            (np.float32(self._iris[0]), np.float32(self._iris[1])),
            np.float32(self._iris_radius),
            (np.float32(shift_x), np.float32(shift_y)),
        )
        return out


def _lid(x: Floats, y: Floats, grid: Floats) -> npt.NDArray[np.float32]:
    """A lid's Y on a regular grid of X, smooth through its nine points."""
    order = np.maximum.accumulate(x + 1e-4 * np.arange(len(x)))
    curve = np.interp(grid, order, y)
    kernel = np.hanning(17)[1:-1]
    padded = np.concatenate([2 * curve[0] - curve[7:0:-1], curve, 2 * curve[-1] - curve[-2:-9:-1]])
    return np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)


@kernel
def _draw(
    out: Image,
    source: Image,
    plate: Floats,
    ball: Floats,
    lash: Floats,
    grain: Floats,
    grid_x: Floats,
    grid_y: Floats,
    upper: Floats,
    lower: Floats,
    eye_width: float,
    iod: float,
    band: float,
    blink: float,
    iris: tuple[float, float],
    iris_radius: float,
    shift: tuple[float, float],
) -> None:
    height, width = grid_x.shape
    samples = upper.shape[0]
    # Unit steps of X and Y in patch px.
    step_xx, step_xy = grid_x[0, 1] - grid_x[0, 0], grid_x[1, 0] - grid_x[0, 0]
    step_yx, step_yy = grid_y[0, 1] - grid_y[0, 0], grid_y[1, 0] - grid_y[0, 0]
    appear = ramp(0.0, 0.25, blink)
    mirror = ramp(0.35, 0.8, blink)
    moves = shift[0] != 0 or shift[1] != 0
    lash_line = max(0.010 * iod, 0.9)
    reach = 0.12 * iod
    for py in range(height):
        for px in range(width):
            x, y = grid_x[py, px], grid_y[py, px]
            at = min(max(x / eye_width, 0.0), 1.0) * (samples - 1)
            i = min(int(at), samples - 2)
            w = at - i
            u0 = upper[i] * (1 - w) + upper[i + 1] * w
            l0 = lower[i] * (1 - w) + lower[i + 1] * w
            gap = max(u0 - l0, 0.0)
            beside = max(-x, x - eye_width, 0.0)
            overlap = _OVERLAP * iod * min(gap / (0.04 * iod), 1.0)
            u = u0 - _UPPER_SHARE * blink * (gap + overlap)
            low = l0 + _LOWER_SHARE * blink * (gap + overlap)
            inside_x = min(max(0.5 + min(x, eye_width - x), 0.0), 1.0)
            for c in range(3):
                out[py, px, c] = source[py, px, c]
            # 1. the eyeball, its iris moved, in the shadow of the lid
            opening = min(max(u - y + 0.5, 0.0), 1.0) * min(max(y - low + 0.5, 0.0), 1.0) * inside_x
            if opening > 0 and (moves or blink > 0):
                sx, sy = x, y
                far = 0.0
                if moves:
                    away = np.sqrt((x - iris[0] - shift[0]) ** 2 + (y - iris[1] - shift[1]) ** 2)
                    far = 1.0 - ramp(1.05 * iris_radius, 2.0 * iris_radius, away)
                    sx, sy = x - shift[0] * far, y - shift[1] * far
                bx = px + (sx - x) * step_xx + (sy - y) * step_yx
                by = py + (sx - x) * step_xy + (sy - y) * step_yy
                shade = 1.0 - 0.45 * ramp(0.0, 0.5, blink) * np.exp(-max(u - y, 0.0) / (0.035 * iod))
                # Near the rim the picture's own soft edge stays, as far as no iris is being moved there.
                rim = min(max(min(u0 - y, y - l0) - 0.5, 0.0), 1.0)
                for c in range(3):
                    if moves:
                        value = sample(ball, by, bx, c)
                        value += (float(source[py, px, c]) - value) * (1 - rim)
                    else:
                        value = float(source[py, px, c])
                    value *= shade
                    old = float(out[py, px, c])
                    out[py, px, c] = np.uint8(min(max(old + (value - old) * opening + 0.5, 0.0), 255.0))
            if blink <= 0:
                continue
            # 2. the lower lid, pushed up rigidly and fading out down the cheek
            lift = low - l0
            under = min(max(low - y + 0.5, 0.0), 1.0) * inside_x
            if under > 0 and lift > 0.01 and l0 - y < reach:
                travel = lift * (1.0 - ramp(0.0, reach, low - y))
                bx, by = px - travel * step_yx, py - travel * step_yy
                for c in range(3):
                    value = sample(source, by, bx, c)
                    old = float(out[py, px, c])
                    out[py, px, c] = np.uint8(min(max(old + (value - old) * under + 0.5, 0.0), 255.0))
            # 3. the upper lid's skin between its edge and the lash band of the open eye
            taper = np.sqrt(max(1.0 - (beside / (_BESIDE * eye_width)) ** 2, 0.0))
            top = u0 + band * taper
            covered = min(max(y - u + 0.5, 0.0), 1.0) * (1.0 - ramp(-0.35 * band - 1.0, 0.0, y - top)) * appear
            if beside > 0:
                covered *= ramp(0.0, 0.6, taper)
            # 4. lashes: how much darker than bare skin the picture is at the same distance from the lid's edge
            above = y - u
            dark = 1.0
            if -0.7 * band < above < 0.85 * band and beside < 0.1 * eye_width:
                up_y = (u0 + abs(above)) - y
                bx, by = px + up_y * step_yx, py + up_y * step_yy
                ratio = sample(lash, by, bx, 0)
                ratio = 1.0 - (1.0 - ratio) * (1.0 - ramp(0.4 * band, 0.7 * band, abs(above)))
                dark = 1.0 - (1.0 - ratio) * (1.0 - mirror) * 0.9 if above >= 0 else 1.0 - (1.0 - ratio) * mirror * 0.75
                line = np.exp(-((above + 0.3 * lash_line) ** 2) / (lash_line * lash_line)) * min(
                    gap / (0.03 * iod), 1.0
                )
                dark *= 1.0 - 0.45 * line
                dark = 1.0 - (1.0 - dark) * appear
            if covered > 0:
                along = min(max((y - u) / max(u0 - u, 1.0), 0.0), 1.0)
                if along < 0.5:
                    profile = 0.90 + (1.04 - 0.90) * ramp(0.0, 0.5, along)
                else:
                    profile = 1.04 + (0.95 - 1.04) * ramp(0.5, 1.0, along)
                if y > u0:
                    profile += (1.0 - profile) * ramp(0.0, 0.5 * band, y - u0)
                profile = 1.0 + (profile - 1.0) * appear * min(gap / (0.06 * iod), 1.0)
                for c in range(3):
                    value = plate[py, px, c] * profile + grain[py, px]
                    old = float(out[py, px, c])
                    out[py, px, c] = np.uint8(min(max(old + (value - old) * covered + 0.5, 0.0), 255.0))
            if dark < 1.0:
                for c in range(3):
                    out[py, px, c] = np.uint8(out[py, px, c] * dark + 0.5)
