"""Bands: the rows of a window that are drawn at a time, without the columns in which nothing can change.

What is computed for a band stays in the cache of a core until it is composed; a whole frame of 1080 rows does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ...arrays import Flags, Floats32, Indices

Window = tuple[int, int, int, int]
"""left, top, right, bottom, px; right and bottom excluded."""

_PIXELS = 1 << 16  # of a band; OpenCV needs several times as many to use a second thread
_FEWEST_ROWS = 16
_FILTER = 8  # px that the enlarged opacity reaches beyond the person


class Outline:
    """The first and last column of each row in which a layer shows."""

    def __init__(self, shown: Flags) -> None:
        """`shown`: (H, W) where the layer is not transparent, or what is behind it differs from the still image."""
        some, width = shown.any(axis=1), shown.shape[1]
        self._first = _column(np.where(some, shown.argmax(axis=1), width))
        self._end = _column(np.where(some, width - shown[:, ::-1].argmax(axis=1), 0))

    def bands(self, window: Window, reach: float, step: int) -> Iterator[Window]:
        """Yield the bands of a window that show the layer, if it moves by up to `reach` px.

        They begin at the window's corner plus a multiple of `step` px.
        """
        far = int(np.ceil(reach)) + _FILTER
        around = np.ones((2 * far + 1, 1), np.uint8)
        first, end = cv2.erode(self._first, around)[:, 0] - far, cv2.dilate(self._end, around)[:, 0] + far
        left, top, right, bottom = window
        rows = max(_PIXELS // max(right - left, 1), _FEWEST_ROWS)
        rows = max(rows - rows % step, step)
        for y in range(top, bottom, rows):
            below = min(y + rows, bottom)
            before, after = max(int(first[y:below].min()), left), min(int(end[y:below].max()), right)
            if before < after:
                yield before - (before - left) % step, y, after, below


def _column(values: Indices) -> Floats32:
    return values.astype(np.float32)[:, None]
