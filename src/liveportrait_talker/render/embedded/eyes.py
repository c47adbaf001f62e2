"""Blinks and gaze, drawn into the source texture before the mesh warp.

Moving lid vertices of the mesh would stretch lashes and crease into streaks. Instead a patch around each eye is
redrawn: the eyeball with its iris moved, over it the lids. Coordinates: X along the corners of the eye (left to right
in the image), Y up, image px (docs/method/embedded_renderer.md, Lids).
"""

from __future__ import annotations

import numpy as np

from ...arrays import Floats, Image
from ...face.tracked import TrackedFace
from ...motion.smoothing import smoothstep
from .curves import smooth_curve
from .irises import draw_eyeball, separate_eyeball
from .lids import Fields, draw_lids, separate
from .model import UPPER_LID
from .openings import Lids, widen_lids

_LOWER_LID = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
_BROW = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))  # the brows' lower line, left to right in the image
_IRIS = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))
_TRAVEL_X, _TRAVEL_UP, _TRAVEL_DOWN = 0.14, 0.07, 0.08  # of the iris at full gaze, in eye widths
_SAMPLES = 128  # of a lid curve
_MARGIN = 0.5  # eye widths around the lids
_SEEN_MARGIN = 0.6  # iris radii around the opening over which the eyeball is grown
_BEYOND_CORNERS = 0.30  # eye widths beside the corners over which the motion fades out
_LID_BEYOND = 0.27  # eye widths beside the corners, where the lid ends
_LID_WITHIN = 0.03  # eye widths within them, where it is complete
# The line of shut lids: above the lower lid by a share of the gap; tilted, because the outer corner sinks.
_SHUT_SHARE = 0.2
_TILT = (-0.021, 0.019)  # IOD at the outer and the inner corner


def find_eyes(image: Image, face: TrackedFace, *, may_be_drawn: bool) -> tuple[Eye, ...]:
    """Return the eyes that can be redrawn; `may_be_drawn`: they may be larger than their landmarks."""
    points = face.landmarks[:, :2].astype(np.float64)
    lids = [Lids(points[list(upper)], points[list(lower)]) for upper, lower in zip(UPPER_LID, _LOWER_LID, strict=True)]
    if may_be_drawn:
        lids = widen_lids(image, lids, face.pose.iod)
    return tuple(eye for side in (0, 1) if (eye := Eye(image, face, lids[side], side)).usable)


class Eye:
    """One eye of a portrait, which can be redrawn inside its patch."""

    def __init__(self, image: Image, face: TrackedFace, lids: Lids, side: int) -> None:
        """`side`: 0 for the left eye of the image, 1 for the right."""
        self.side = side
        iod = face.pose.iod
        points = face.landmarks[:, :2].astype(np.float64)
        upper, lower = lids
        along = upper[-1] - upper[0]
        self._width = float(np.linalg.norm(along))
        axis_x = along / max(self._width, 1e-6)
        axis_y = np.array([axis_x[1], -axis_x[0]])  # up in the image
        height, width = image.shape[:2]
        margin = _MARGIN * self._width
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

        def to_eye(at: Floats) -> tuple[Floats, Floats]:
            offset = at - upper[0]
            return offset @ axis_x, offset @ axis_y

        x, y = (v.astype(np.float32) for v in to_eye(np.stack([columns, rows], axis=-1)))
        along_x = np.clip(x / self._width, 0, 1)
        grid = np.linspace(0, self._width, _SAMPLES)
        curves = [smooth_curve(*to_eye(lid), grid, taps=15, min_step=1e-4) for lid in (upper, lower)]
        ends = np.minimum(1, 12 * np.minimum(grid, grid[::-1]) / self._width)  # the lids join at the corners
        u0, l0 = (np.interp(along_x, grid / self._width, curve * ends).astype(np.float32) for curve in curves)
        l0 = np.minimum(l0, u0)
        outer = x / self._width if side == 0 else 1 - x / self._width  # from the outer corner
        beside = np.maximum(np.maximum(-x, x - self._width), 0)
        fade = np.cos(0.5 * np.pi * np.minimum(beside / (_BEYOND_CORNERS * self._width), 1)) ** 2
        lid = smoothstep(-_LID_BEYOND, _LID_WITHIN, np.minimum(x, self._width - x) / self._width)
        shut = l0 + _SHUT_SHARE * (u0 - l0) + iod * np.interp(outer, (0, 1), _TILT)
        brow_x, brow_y = to_eye(points[list(_BROW[side])])
        brow = np.interp(x, np.maximum.accumulate(brow_x + 1e-3 * np.arange(len(brow_x))), brow_y)
        strip = np.clip(0.85 * (brow - u0), 0.08 * iod, 0.24 * iod)
        strip = np.minimum(strip, np.maximum(y[:2].min(axis=0)[None] - u0 - 1, 2))
        self._fields = Fields(
            y,
            u0,
            l0,
            (shut * fade).astype(np.float32),
            strip.astype(np.float32),
            outer.astype(np.float32),
            lid.astype(np.float32),
            np.float32(iod),
        )
        self._layers = separate(self.source, self._fields, beside)
        iris = points[list(_IRIS[side])]
        centre = np.array([*to_eye(iris[0]), np.linalg.norm(iris[1:] - iris[0], axis=1).mean()])
        near = _SEEN_MARGIN * centre[2] + 2
        part = np.argwhere((y < u0 + near) & (y > l0 - near) & (beside < near))
        if not len(part) or (np.ptp(part, axis=0) < 1).any():  # the eye itself lies outside of the image
            self.usable = False
            return
        self._part = np.s_[part[:, 0].min() : part[:, 0].max() + 1, part[:, 1].min() : part[:, 1].max() + 1]
        fields = (np.ascontiguousarray(v[self._part]) for v in (x, y, u0, l0, self._layers.spilled))
        seen = np.ascontiguousarray(self.source[self._part])
        self._eyeball = separate_eyeball(seen, *fields, iris=centre)

    def draw(self, blink: float, gaze: Floats) -> Image:
        """Return the patch (bottom − top, right − left, 3).

        Args:
            blink: closure of the lid, 0…1.
            gaze: (2,) x right, y up, −1…1.
        """
        if not self.usable or (blink <= 0 and not np.any(gaze)):
            return self.source
        out = self.source.copy()
        if np.any(gaze):
            shift_x = float(gaze[0]) * _TRAVEL_X * self._width
            shift_y = float(gaze[1]) * (_TRAVEL_UP if gaze[1] > 0 else _TRAVEL_DOWN) * self._width
            part = np.empty_like(self._eyeball.source)
            draw_eyeball(part, tuple(self._eyeball), (np.float32(shift_x), np.float32(shift_y)))
            out[self._part] = part
        if blink > 0:
            draw_lids(out, self.source, tuple(self._layers), tuple(self._fields), np.float32(min(blink, 1.0)))
        return out
