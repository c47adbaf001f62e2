"""Breathing: chest and shoulders that rise and fall. Source: docs/method/motion.md, Breath."""

from __future__ import annotations

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
    risen = np.zeros(frames)
    start = 0.0
    while start * fps < frames:
        length, depth = rng.uniform(*_PERIOD_S), rng.uniform(*_DEPTH)
        inside = np.arange(int(np.ceil(start * fps)), min(int(np.ceil((start + length) * fps)), frames))
        phase = (inside / fps - start) / length
        risen[inside] = depth * (smoothstep(0, _INHALING, phase) - smoothstep(_INHALING, 1, phase))
        start += length
    return risen
