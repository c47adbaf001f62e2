"""Filling holes in a picture from what surrounds them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ...arrays import Floats
from ...system.jit import kernel


def harmonic_fill(picture: Floats, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Replace the pixels of (h, w, 3) `picture` that are `inside` by the smoothest continuation of the others.

    Solves Laplace's equation by over-relaxation, first at half size (recursively), then at full.
    """
    filled = np.ascontiguousarray(picture, np.float32).copy()
    if not inside.any() or inside.all():
        return filled
    height, width = inside.shape
    if min(height, width) >= 24:
        half = (max(width // 2, 1), max(height // 2, 1))
        known = cv2.resize((~inside).astype(np.float32), half, interpolation=cv2.INTER_AREA)
        masked = cv2.resize(filled * ~inside[..., None], half, interpolation=cv2.INTER_AREA)
        coarse_inside = known < 0.5
        coarse = masked / np.maximum(known, 1e-3)[..., None]
        guess = cv2.resize(harmonic_fill(coarse, coarse_inside), (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        guess = np.broadcast_to(filled[~inside].mean(axis=0), filled.shape)
    filled[inside] = guess[inside]
    _relax(filled, inside, 40)
    return filled


@kernel
def _relax(values: Floats, inside: npt.NDArray[np.bool_], rounds: int) -> None:
    height, width, channels = values.shape
    for _ in range(rounds):
        for y in range(height):
            for x in range(width):
                if not inside[y, x]:
                    continue
                up, down = max(y - 1, 0), min(y + 1, height - 1)
                left, right = max(x - 1, 0), min(x + 1, width - 1)
                for c in range(channels):
                    mean = 0.25 * (values[up, x, c] + values[down, x, c] + values[y, left, c] + values[y, right, c])
                    values[y, x, c] += 1.5 * (mean - values[y, x, c])
