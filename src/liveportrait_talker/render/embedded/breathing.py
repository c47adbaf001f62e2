"""Chest and shoulders that rise and fall: rows of the person's layer, moved up by a fraction of a pixel each."""

from __future__ import annotations

import numpy as np

from ...arrays import Floats32, Image
from ...motion.smoothing import smoothstep
from ...system.jit import kernel
from .bands import Window
from .texture import double_size

_RISE = 0.018  # IOD, of the shoulders at a full breath
_SHOULDERS = 0.9  # IOD below the chin: from here on everything rises
_LEAST_RISE = 0.1  # px
_FACTOR = 4  # rows of the enlarged body per row of the image


class Body:
    """The part of a person below the chin."""

    def __init__(self, person: Image, chin: float, iod: float, border: Floats32) -> None:
        """Enlarge the body.

        Args:
            person: (H, W, 4) colours and opacity.
            chin: y, px.
            iod: px.
            border: (H,) weight of motion in y, 0 at a border that the person touches.
        """
        height = len(person)
        rows = np.arange(height, dtype=np.float64)
        self._rise = (_RISE * iod * smoothstep(chin, chin + _SHOULDERS * iod, rows) * border).astype(np.float32)
        reach = int(np.ceil(_RISE * iod)) + 1
        top = int(np.clip(chin, 0, height))
        columns = np.flatnonzero(person[top:, :, 3].any(axis=0))
        self.box = (0, 0, 0, 0)
        """left, top, right, bottom of what moves, px; empty where the image ends above the shoulders."""
        if self._rise.max(initial=0) < _LEAST_RISE or not len(columns):
            return
        left, right = int(columns[0]), int(columns[-1]) + 1
        self.box = (left, max(top - reach, 0), right, height)
        self._rows = _more_rows(person[self.box[1] :, left:right]).reshape(-1, 4 * (right - left))

    @property
    def moves(self) -> bool:
        """Whether the image shows anything that a breath moves."""
        return self.box[2] > self.box[0]

    def lift(self, breath: float) -> Floats32:
        """Return by how much each row (H,) moves up, px."""
        lift: Floats32 = np.float32(breath) * self._rise
        return lift

    def draw(
        self,
        lift: Floats32,
        background: Image,
        still: Image,
        out: Image,
        corner: tuple[int, int],
        drawn: Window,
    ) -> None:
        """Draw the body, except in the window `drawn`, into `out`, whose upper left pixel is at `corner`."""
        left, top, right, bottom = self.box
        low, high = max(drawn[1], top), min(drawn[3], bottom)
        parts = [(left, top, right, bottom)]
        if low < high:
            begin, end = (min(max(x, left), right) for x in (drawn[0], drawn[2]))  # the window may lie beside the body
            sides = (left, low, begin, high), (end, low, right, high)
            parts = [(left, top, right, low), *sides, (left, high, right, bottom)]
        for part in parts:
            _draw_rows(self._rows, lift, *self.box, *part, background, still, out, *corner)


def _more_rows(image: Image) -> Image:
    """Return (h, w, 4) with four times as many rows; every fourth one is an original."""
    wide = image.transpose(1, 0, 2)
    for _ in range(2):
        wide = np.ascontiguousarray(double_size(wide.transpose(1, 0, 2))[:, ::2].transpose(1, 0, 2))
    return np.ascontiguousarray(wide.transpose(1, 0, 2))


@kernel
def _draw_rows(
    rows: Image,
    lift: Floats32,
    left: int,
    top: int,
    right: int,
    bottom: int,
    first_x: int,
    first_y: int,
    end_x: int,
    end_y: int,
    background: Image,
    still: Image,
    out: Image,
    out_x: int,
    out_y: int,
) -> None:
    begin, count = 4 * (first_x - left), max(4 * (end_x - first_x), 0)
    row = np.empty(count, np.uint8)
    channels = out.shape[2]
    for y in range(first_y, end_y):
        if lift[y] == 0:
            continue
        at = min(max(_FACTOR * (np.float32(y - top) + lift[y]), np.float32(0)), np.float32(len(rows) - 1))
        upper = int(at)
        lower = min(upper + 1, len(rows) - 1)
        one, other = rows[upper, begin:], rows[lower, begin:]
        weight = np.uint16(256 * (at - np.float32(upper)))
        complement = np.uint16(256 - weight)
        for k in range(count):
            row[k] = np.uint8(
                (np.uint16(one[k]) * complement + np.uint16(other[k]) * weight + np.uint16(128)) >> np.uint16(8)
            )
        share = min(np.float32(2) * abs(lift[y]), np.float32(1))
        for x in range(first_x, end_x):
            k = 4 * (x - first_x)
            v, w = y - out_y, x - out_x
            if channels == 4:
                before = np.float32(still[y, x, 3])
                out[v, w, 3] = np.uint8(before + share * (np.float32(row[k + 3]) - before) + np.float32(0.5))
            if row[k + 3] == 255 or channels == 4:
                out[v, w, 0], out[v, w, 1], out[v, w, 2] = row[k], row[k + 1], row[k + 2]
                continue
            for c in range(3):
                under, rest = np.float32(background[y, x, c]), np.float32(still[y, x, c])
                over = np.float32(row[k + c]) - under
                drawn = under + over * (np.float32(row[k + 3]) / np.float32(255))
                out[v, w, c] = np.uint8(rest + share * (drawn - rest) + np.float32(0.5))
