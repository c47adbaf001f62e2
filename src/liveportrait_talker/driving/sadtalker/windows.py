"""Windows of expression coefficients, the MappingNet's input.

Source: docs/method/sadtalker.md, Windows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...arrays import Floats, Floats32
from ...weights.registry import MAPPINGNET_ROWS


def window_index(frames: int, rows: int = MAPPINGNET_ROWS) -> npt.NDArray[np.int64]:
    """Return the frames (T, rows) in the window of each frame, i − rows // 2 and on, clamped to 0…T−1."""
    around = np.arange(rows) - rows // 2
    index: npt.NDArray[np.int64] = np.clip(np.arange(frames)[:, None] + around, 0, max(frames - 1, 0))
    return index


def coefficient_windows(coefficients: Floats, index: npt.NDArray[np.int64]) -> Floats32:
    """Return network inputs (n, C, rows) from coefficients (T, C) and n rows of `window_index(T)`.

    A frame takes 7 KB at 64 × 28: pass a part of the index at a time for long voices.
    """
    return np.ascontiguousarray(coefficients.astype(np.float32)[index].transpose(0, 2, 1))
