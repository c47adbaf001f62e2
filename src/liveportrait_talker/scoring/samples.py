"""`Samples`: figures of single frames, kept in little memory until their percentiles are asked for."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping

import numpy as np


class Samples:
    """Values by name, 8 bytes each."""

    def __init__(self) -> None:
        self._values: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))

    def add(self, row: Mapping[str, float]) -> None:
        """Add one frame's values."""
        for name, value in row.items():
            self._values[name].append(value)

    def percentiles(self, percent: float) -> dict[str, float]:
        """Return a percentile of the finite values of each name that has any."""
        found = {}
        for name, values in self._values.items():
            finite = np.frombuffer(values)[np.isfinite(values)]
            if len(finite):
                found[name] = float(np.percentile(finite, percent))
        return found
