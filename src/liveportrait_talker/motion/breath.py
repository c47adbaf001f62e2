"""Breathing: chest and shoulders that rise and fall. Source: docs/method/motion.md, Breath."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..arrays import Floats64
from .smoothing import smoothstep

_PERIOD_S = (3.2, 4.8)  # about 15 breaths a minute
_DEPTH = (0.6, 1.0)
_INHALING = 0.4  # share of a breath


def natural_breath(frames: int, fps: float, rng: np.random.Generator) -> Floats64:
    """Return (frames,) 0…1: how far the chest has risen above its rest, which the first frame has.

    Raises:
        ValueError: `fps` is not positive.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    risen, done, following = np.zeros(frames), 0, endless_breaths(fps, rng)
    while done < frames:
        breath = next(following)[: frames - done]
        risen[done : done + len(breath)] = breath
        done += len(breath)
    return risen


def endless_breaths(fps: float, rng: np.random.Generator) -> Iterator[Floats64]:
    """Yield the frames of one breath after another, without end."""
    start = 0.0
    while True:
        length, depth = rng.uniform(*_PERIOD_S), rng.uniform(*_DEPTH)
        inside = np.arange(int(np.ceil(start * fps)), int(np.ceil((start + length) * fps)))
        phase = (inside / fps - start) / length
        yield depth * (smoothstep(0, _INHALING, phase) - smoothstep(_INHALING, 1, phase))
        start += length
