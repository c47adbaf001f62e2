"""Compiled functions that the kernels of mouth and eyes share."""

from __future__ import annotations

from ...arrays import Floats
from ...system.jit import inlined


@inlined
def ramp(low: float, high: float, x: float) -> float:
    """Return the smooth step of `x`: 0 below `low`, 1 above `high`; `low` < `high`."""
    t = (x - low) / (high - low)
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@inlined
def sample_bilinear(values: Floats, y: float, x: float, c: int) -> float:
    """Return channel `c` of (h, w, channels) at (x, y), interpolated; outside, the edge pixels repeat."""
    height, width = values.shape[:2]
    x, y = min(max(x, 0.0), width - 1.001), min(max(y, 0.0), height - 1.001)
    i, j = int(y), int(x)
    v, u = y - i, x - j
    top = float(values[i, j, c]) * (1 - u) + float(values[i, j + 1, c]) * u
    bottom = float(values[i + 1, j, c]) * (1 - u) + float(values[i + 1, j + 1, c]) * u
    return top * (1 - v) + bottom * v


@inlined
def sample_curve(values: Floats, at: float) -> float:
    """Return (n,) `values` at position `at`, 0…n − 1, interpolated."""
    i = min(int(at), values.shape[0] - 2)
    w = at - i
    return float(values[i] * (1 - w) + values[i + 1] * w)


@inlined
def sample_grid(grid: Floats, down: float, across: float, c: int) -> float:
    """Return channel `c` of cell values (rows, columns, channels) at `down`, `across`, 0…1, interpolated."""
    rows, columns = grid.shape[:2]
    value: float = sample_bilinear(grid, down * rows - 0.5, across * columns - 0.5, c)
    return value
