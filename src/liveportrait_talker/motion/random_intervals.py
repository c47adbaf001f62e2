"""Random intervals between blinks and glances: with a fixed number and sum, or one after another without end."""

from __future__ import annotations

import numpy as np

from ..arrays import Integers

_SPREAD = 0.5  # σ of the logarithm of the gaps between human blinks (docs/method/motion.md, Rhythm)


def draw_intervals(total: int, count: int, rng: np.random.Generator, *, least: int = 0) -> Integers:
    """Split `total` frames into `count` parts (count,) of at least `least` frames, with log-normal weights.

    The parts add up to `total`. Independent gaps would leave some short clips crowded and others empty.

    Raises:
        ValueError: `total` is too short for `count` parts.
    """
    free = total - count * least
    if count < 1 or free < 0:
        raise ValueError(f"cannot cut {total} frames into {count} parts of at least {least}")
    weights = rng.lognormal(0.0, _SPREAD, count)
    ends = np.rint(np.cumsum(weights) / weights.sum() * free).astype(np.int64)
    return np.diff(ends, prepend=0) + least


def draw_interval(mean: float, rng: np.random.Generator) -> float:
    """Return one log-normal interval of this mean, for a motion without end."""
    return float(mean * np.exp(-(_SPREAD**2) / 2) * rng.lognormal(0.0, _SPREAD))
