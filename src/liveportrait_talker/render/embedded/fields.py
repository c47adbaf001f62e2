"""Fields that are smaller than the image they describe: their size, and their bilinear reading inside of kernels."""

from __future__ import annotations

import numpy as np

from ...arrays import Floats32
from ...system.jit import inlined

_LONGEST_SIDE = 512  # px


def reduced_size(height: int, width: int) -> tuple[float, tuple[int, int]]:
    """Return the factor, at most 1, and the (width, height) at which what is smooth in an image is computed."""
    factor = min(1.0, _LONGEST_SIDE / max(height, width))
    return factor, (max(3, round(width * factor)), max(3, round(height * factor)))


@inlined
def cell(at: int, size: int, cells: int) -> tuple[int, int, np.float32]:
    """Return the two cells between which the pixel `at` of `size` lies, and the weight of the second."""
    place = (np.float32(at) + np.float32(0.5)) * np.float32(cells) / np.float32(size) - np.float32(0.5)
    place = min(max(place, np.float32(0)), np.float32(cells - 1))
    first = int(place)
    return first, min(first + 1, cells - 1), np.float32(place - np.float32(first))


@inlined
def read(
    field: Floats32, top: int, below: int, down: np.float32, left: int, right: int, across: np.float32, channel: int
) -> np.float32:
    """Return the value of a field (h, w, c) between four cells, see `cell`."""
    upper = field[top, left, channel] + across * (field[top, right, channel] - field[top, left, channel])
    lower = field[below, left, channel] + across * (field[below, right, channel] - field[below, left, channel])
    return np.float32(upper + down * (lower - upper))
