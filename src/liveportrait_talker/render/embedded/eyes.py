"""Blinks and gaze, drawn into the source texture before the mesh warp.

Moving lid vertices would stretch lashes and crease into streaks. Instead a smooth lid is extrapolated once from the
skin around the eye, and each frame shows the part that the blink closes, with the source's lash line along its edge.
Coordinates: X along the corners of the eye (left to right in the image), Y up, image px
(docs/method/embedded_renderer.md, Lids and irises).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...arrays import Flags, Floats, Floats32, Image, Integers
from ...face.tracked import TrackedFace
from ...system.jit import kernel
from .curves import smooth_curve
from .fill import fill_harmonic
from .model import UPPER_LID
from .shading import ramp, sample_bilinear

_LOWER_LID = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
_BROW = ((53, 52, 65), (283, 282, 295))  # the brows' lower line
_IRIS = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
_TRAVEL_X, _TRAVEL_UP, _TRAVEL_DOWN = 0.14, 0.07, 0.08  # of the iris at full gaze, in eye widths
_UPPER_SHARE, _LOWER_SHARE = 0.85, 0.15  # of the lids in a closing
_OVERLAP = 0.012  # IOD by which closed lids overlap
_SAMPLES = 128  # of a lid curve
_BEYOND_CORNERS = 0.20  # reach of lid and lashes beyond the corners, in eye widths


class _Layers(NamedTuple):
    """Images of a patch (h, w, …)."""

    source: Image
    skin: Floats32
    """(h, w, 3) the closed lid."""
    eyeball: Floats32
    """(h, w, 3) the eyeball, extrapolated under the lids."""
    lash: Floats32
    """(h, w, 1) brightness of the lash line relative to `skin`, 0…1."""
    grain: Floats32
    """(h, w) fine detail of the lid."""


class _Shape(NamedTuple):
    """Geometry of an eye, px."""

    grid_x: Floats32
    """(h, w) X of each pixel of the patch."""
    grid_y: Floats32
    upper: Floats32
    """(samples,) Y of the upper lid, X from 0 to `width`."""
    lower: Floats32
    width: np.float32
    iod: np.float32
    band: np.float32
    """Height of the lid above its edge."""
    iris: tuple[np.float32, np.float32]
    """X, Y of its centre."""
    iris_radius: np.float32


class Eye:
    """One eye of a portrait, which can be redrawn inside its patch."""

    def __init__(self, image: Image, face: TrackedFace, side: int) -> None:
        """`side`: 0 for the left eye of the image, 1 for the right."""
        self.side = side
        iod = face.pose.iod
        points = face.landmarks[:, :2].astype(np.float64)
        upper, lower = points[list(UPPER_LID[side])], points[list(_LOWER_LID[side])]
        along = upper[-1] - upper[0]
        self._width = float(np.linalg.norm(along))
        self._iod = iod
        axis_x = along / max(self._width, 1e-6)
        axis_y = np.array([axis_x[1], -axis_x[0]])  # up in the image
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
        self._upper, lower_lid = (
            smooth_curve((lid - upper[0]) @ axis_x, (lid - upper[0]) @ axis_y, grid, taps=15, min_step=1e-4).astype(
                np.float32
            )
            for lid in (upper, lower)
        )
        self._lower = np.minimum(lower_lid, self._upper)
        brow_gap = float(((points[list(_BROW[side])] - points[UPPER_LID[side][4]]) @ axis_y).mean())
        self._band = float(np.clip(0.6 * brow_gap, 0.02 * iod, 0.11 * iod))
        iris = points[list(_IRIS[side])]
        self._shape = _Shape(
            self._x,
            self._y,
            self._upper,
            self._lower,
            np.float32(self._width),
            np.float32(iod),
            np.float32(self._band),
            (np.float32((iris[0] - upper[0]) @ axis_x), np.float32((iris[0] - upper[0]) @ axis_y)),
            np.float32(np.linalg.norm(iris[1:] - iris[0], axis=1).mean()),
        )
        self._layers = self._build_layers()

    def _build_layers(self) -> _Layers:
        source = self.source.astype(np.float32)
        x = np.clip(self._x / self._width * (_SAMPLES - 1), 0, _SAMPLES - 1)
        u0 = np.interp(x, np.arange(_SAMPLES), self._upper).astype(np.float32)
        l0 = np.interp(x, np.arange(_SAMPLES), self._lower).astype(np.float32)
        beside = np.maximum(np.maximum(-self._x, self._x - self._width), 0) / (_BEYOND_CORNERS * self._width)
        taper = np.sqrt(np.maximum(1 - beside**2, 0))  # rounds the region off beyond the corners
        inside = (self._y < u0 + self._band * taper) & (self._y > l0 - 0.035 * self._iod * taper) & (beside < 1)
        skin = fill_harmonic(source, inside | self._makeup_mask(source, inside))
        opening = (self._y < u0 - 1.0) & (self._y > l0 + 1.0) & (self._x > 0) & (self._x < self._width)
        if opening.sum() >= 12:
            near = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            eyeball = fill_harmonic(np.where(opening[..., None], source, source[opening].mean(0)), near & ~opening)
        else:
            eyeball = source
        darkness = (source + 4) / (skin + 4)
        lash = np.minimum(darkness.min(axis=-1, keepdims=True), 1.0).astype(np.float32)
        return _Layers(self.source, skin, eyeball, lash, self._extract_grain(source, inside))

    def _extract_grain(self, source: Floats, inside: Flags) -> Floats32:
        """Return (h, w) fine detail for the lid, taken from the skin below the eye."""
        grey = source.mean(axis=-1)
        fine = grey - cv2.GaussianBlur(grey, (0, 0), max(1.2, 0.02 * self._iod))
        skin = ~inside
        spread = float(np.median(np.abs(fine[skin]))) / 0.6745 if skin.any() else 0.0
        clean = np.where(skin, np.clip(fine, -2.2 * spread, 2.2 * spread), 0)
        # Rows from the cheek, mirrored at the bottom of the patch.
        last = len(clean) - 1
        rows: Integers = np.arange(len(clean)) + round(0.38 * len(clean))
        rows = np.where(rows > last, 2 * last - rows, rows)
        grain: Floats32 = clean[rows].astype(np.float32)
        return grain

    def _makeup_mask(self, source: Floats, inside: Flags) -> Flags:
        """Return the mask (h, w) of lashes, liner and shadow, which the skin of the lid must not be filled from."""
        reach = max(3, round(0.10 * self._iod)) | 1
        around = cv2.dilate(inside.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        luma = source.mean(axis=-1)
        ring = around & ~inside
        if not ring.any():
            return inside & False
        return np.asarray(ring & (luma < 0.85 * np.percentile(luma[ring], 65)), np.bool_)

    def draw(self, blink: float, gaze: Floats) -> Image:
        """Return the patch (bottom − top, right − left, 3).

        Args:
            blink: closure of the lid, 0…1.
            gaze: (2,) x right, y up, −1…1.
        """
        if not self.usable or (blink <= 0 and not np.any(gaze)):
            return self.source
        shift_x = float(gaze[0]) * _TRAVEL_X * self._width
        shift_y = float(gaze[1]) * (_TRAVEL_UP if gaze[1] > 0 else _TRAVEL_DOWN) * self._width
        out = np.empty_like(self.source)
        closure = np.float32(min(max(blink, 0.0), 1.0))
        _draw(out, tuple(self._layers), tuple(self._shape), closure, (np.float32(shift_x), np.float32(shift_y)))
        return out


@kernel
def _draw(out: Image, layers: _Layers, shape: _Shape, blink: float, shift: tuple[float, float]) -> None:
    source, skin, eyeball, lash, grain = layers
    grid_x, grid_y, upper, lower, eye_width, iod, band, iris, iris_radius = shape
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
            # 1. The eyeball with the iris shifted, shaded by the lid.
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
                # Near the lids the source's own soft edge is kept.
                rim = min(max(min(u0 - y, y - l0) - 0.5, 0.0), 1.0)
                for c in range(3):
                    if moves:
                        value = sample_bilinear(eyeball, by, bx, c)
                        value += (float(source[py, px, c]) - value) * (1 - rim)
                    else:
                        value = float(source[py, px, c])
                    value *= shade
                    old = float(out[py, px, c])
                    out[py, px, c] = np.uint8(min(max(old + (value - old) * opening + 0.5, 0.0), 255.0))
            if blink <= 0:
                continue
            # 2. The lower lid, moved up rigidly; the motion fades out down the cheek.
            lift = low - l0
            under = min(max(low - y + 0.5, 0.0), 1.0) * inside_x
            if under > 0 and lift > 0.01 and l0 - y < reach:
                travel = lift * (1.0 - ramp(0.0, reach, low - y))
                bx, by = px - travel * step_yx, py - travel * step_yy
                for c in range(3):
                    value = sample_bilinear(source, by, bx, c)
                    old = float(out[py, px, c])
                    out[py, px, c] = np.uint8(min(max(old + (value - old) * under + 0.5, 0.0), 255.0))
            # 3. Coverage of the upper lid, from its edge to above the lash line of the open eye.
            taper = np.sqrt(max(1.0 - (beside / (_BEYOND_CORNERS * eye_width)) ** 2, 0.0))
            top = u0 + band * taper
            covered = min(max(y - u + 0.5, 0.0), 1.0) * (1.0 - ramp(-0.35 * band - 1.0, 0.0, y - top)) * appear
            if beside > 0:
                covered *= ramp(0.0, 0.6, taper)
            # 4. Lashes: brightness relative to skin at the same distance from the lid's edge in the source.
            above = y - u
            dark = 1.0
            if -0.7 * band < above < 0.85 * band and beside < 0.1 * eye_width:
                up_y = (u0 + abs(above)) - y
                bx, by = px + up_y * step_yx, py + up_y * step_yy
                ratio = sample_bilinear(lash, by, bx, 0)
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
                    value = skin[py, px, c] * profile + grain[py, px]
                    old = float(out[py, px, c])
                    out[py, px, c] = np.uint8(min(max(old + (value - old) * covered + 0.5, 0.0), 255.0))
            if dark < 1.0:
                for c in range(3):
                    out[py, px, c] = np.uint8(out[py, px, c] * dark + 0.5)
