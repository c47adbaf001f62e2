"""Filling of holes in an image by Laplace's equation."""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Flags, Floats, Floats32
from ...system.jit import kernel


def fill_harmonic(image: Floats, inside: Flags) -> Floats32:
    """Return a copy of `image` (h, w, 3) with the pixels `inside` (h, w) filled harmonically from the others.

    Solved by over-relaxation, first at half size (recursively), then at full size.
    """
    filled = np.ascontiguousarray(image, np.float32).copy()
    if not inside.any() or inside.all():
        return filled
    height, width = inside.shape
    if min(height, width) >= 24:
        half = (max(width // 2, 1), max(height // 2, 1))
        known = cv2.resize((~inside).astype(np.float32), half, interpolation=cv2.INTER_AREA)
        masked = cv2.resize(filled * ~inside[..., None], half, interpolation=cv2.INTER_AREA)
        coarse_inside = known < 0.5
        coarse = masked / np.maximum(known, 1e-3)[..., None]
        guess = cv2.resize(fill_harmonic(coarse, coarse_inside), (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        guess = np.broadcast_to(filled[~inside].mean(axis=0), filled.shape)
    filled[inside] = guess[inside]
    _relax(filled, inside, 40)
    return filled


@kernel
def _relax(values: Floats, inside: Flags, rounds: int) -> None:
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
