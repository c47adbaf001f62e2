"""Coefficient windows: what the MappingNet sees of the frames about each frame (spec talker.md §8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...weights.registry import MAPPINGNET_ROWS

ORIGINAL_ROWS = MAPPINGNET_ROWS
"""What the original's inference cut: i − 14 … i + 13. The released weights' default."""
TRAINING_ROWS = 29
"""What its training code cut: i − 14 … i + 14."""
SADTALKER_ROWS = 27
"""What SadTalker's own renderer wants: i − 13 … i + 13."""


def window_index(frames: int, rows: int = ORIGINAL_ROWS) -> npt.NDArray[np.int64]:
    """Frames (T, rows) int64 in the window of each of `frames`, clamped to 0…T−1; half of them lie before it."""
    around = np.arange(rows) - rows // 2
    index: npt.NDArray[np.int64] = np.clip(np.arange(frames)[:, None] + around, 0, max(frames - 1, 0))
    return index


def coefficient_windows(
    coefficients: npt.NDArray[np.floating[Any]], index: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Network inputs (n, C, rows) float32 from coefficients (T, C) and some rows of `window_index(T)`.

    Seven kilobytes a frame at 64 × 28: give it a slice of the index at a time where the voice is long.
    """
    return np.ascontiguousarray(coefficients.astype(np.float32)[index].transpose(0, 2, 1))
