"""Intervals of flags over time."""

from __future__ import annotations

import numpy as np

from ..arrays import Flags


def true_intervals(flags: Flags) -> list[tuple[int, int]]:
    """Return the intervals of True in flags (T,) as (first, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
