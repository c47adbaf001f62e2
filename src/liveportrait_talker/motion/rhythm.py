"""How often small things happen: irregular moments that still keep their number and their distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SPREAD = 0.5  # σ of the logarithm of the gaps between human blinks (field notes §5)


def log_normal_parts(total: int, count: int, rng: np.random.Generator, *, least: int = 0) -> npt.NDArray[np.int64]:
    """Cut `total` frames into `count` log-normally uneven parts of at least `least` frames: int64 (count,).

    The parts add up to `total` exactly: gaps drawn freely would now and then crowd a short clip or leave it
    empty, and the mean over many clips is what a viewer never sees.

    Raises:
        ValueError: `total` is too short for `count` parts.
    """
    free = total - count * least
    if count < 1 or free < 0:
        raise ValueError(f"cannot cut {total} frames into {count} parts of at least {least}")
    weights = rng.lognormal(0.0, _SPREAD, count)
    ends = np.rint(np.cumsum(weights) / weights.sum() * free).astype(np.int64)
    return np.diff(ends, prepend=0) + least
