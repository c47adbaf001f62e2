"""What SPADE does to a map between two convolutions, element by element: normalise, times γ plus β, leaky.

`Modulated` is the definition, for graphics processors, where `torch.compile` makes one pass of it. `ModulatedInOnePass`
is for processors: torch would take a pass over memory for each step, and some of them against the grain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....system.jit import kernel
from .bits import FORMATS, Format, bits, narrow, widen
from .threads import in_pieces

_SLOPE = 0.2
_EPS = 1e-5


class Modulated(nn.Module):
    """Of a map (B, C, h, w); `doubles`: rows and columns are doubled after it is normalised."""

    def __init__(self, *, doubles: bool = False) -> None:
        super().__init__()
        self.doubles = doubles

    def forward(
        self, x: Tensor, gamma: Tensor, beta: Tensor, shortcut: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x normalised, times γ plus β, leaky; and x normalised times the γ of the `shortcut`, if there is one."""
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        normal = ((x.float() - mean) * torch.rsqrt(variance + _EPS)).to(x.dtype)
        if self.doubles:
            normal = F.interpolate(normal, scale_factor=2, mode="nearest")
        active = F.leaky_relu_(torch.addcmul(beta, normal, gamma), _SLOPE)
        return active, None if shortcut is None else normal * shortcut


class ModulatedInOnePass(Modulated):
    """The same after one pass for the statistics; float32 or bfloat16, channels last, on a processor."""

    def forward(
        self, x: Tensor, gamma: Tensor, beta: Tensor, shortcut: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `Modulated`; what comes out lies channels last."""
        times, format = 2 if self.doubles else 1, FORMATS[x.dtype]
        count, channels, height, width = x.shape
        assert gamma.shape == beta.shape == (count, channels, times * height, times * width)
        assert shortcut is None or shortcut.shape == gamma.shape
        maps, active = bits(x), torch.empty_like(gamma)
        mean, scale = _statistics(maps, format)
        # A kernel takes no None: where there is no shortcut it is given other maps, which it leaves alone.
        other, by = (active, gamma) if shortcut is None else (torch.empty_like(shortcut), shortcut)
        parts = bits(gamma), bits(beta), bits(active), bits(by), bits(other)

        def work(low: int, high: int) -> None:
            _modulate(maps, mean, scale, *parts, shortcut is not None, times, low, high, *format)

        in_pieces(work, gamma.shape[0] * gamma.shape[2])
        return active, None if shortcut is None else other


def _statistics(maps: npt.NDArray[Any], format: Format) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Of each channel (B, C): its mean, and what makes its variance 1."""
    count, height, width, channels = maps.shape
    row = (maps[:, height // 2].astype(np.uint32) << np.uint32(format.shift)).view(np.float32)
    near = row.mean(axis=1)  # (B, C): the variance is taken about nearly the mean, so that it loses no digits
    sums = np.zeros((height, 2, count, channels))
    in_pieces(lambda low, high: _sum(maps, near, sums, low, high, format.shift), height)
    with np.errstate(invalid="ignore"):  # what is no number shows in the picture, and is told then
        mean, square = sums.sum(axis=0) / (height * width)
        scale = 1 / np.sqrt(np.maximum(square - mean**2, 0) + _EPS)
        return (mean + near).astype(np.float32), scale.astype(np.float32)


@kernel
def _sum(maps, near, sums, top, end, shift):  # type: ignore[no-untyped-def]
    """Of each row from `top` to `end`: the sums (2, B, C) of differences from `near` and of their squares."""
    count, _, width, channels = maps.shape
    wide = np.zeros(channels, np.uint32)
    x = wide.view(np.float32)
    row = np.zeros((2, channels), np.float32)
    for k in range(count):
        for y in range(top, end):
            row[:] = 0
            for column in range(width):
                widen(maps[k, y, column], wide, shift)
                for c in range(channels):
                    d = x[c] - near[k, c]
                    row[0, c] += d
                    row[1, c] += d * d
            for c in range(channels):
                sums[y, 0, k, c] = row[0, c]
                sums[y, 1, k, c] = row[1, c]


@kernel
def _modulate(  # type: ignore[no-untyped-def]
    maps, mean, scale, gamma, beta, active, shortcut, other, has_shortcut, times, first, last, shift, half, odd
):
    """Of the rows of all maps of γ, counted on, those from `first` to `last`."""
    _, height, width, channels = gamma.shape
    wide = np.zeros((3, channels), np.uint32)
    numbers = wide.view(np.float32)
    normal, g, b = numbers[0], numbers[1], numbers[2]
    for row in range(first, last):
        k, y = row // height, row % height
        for column in range(width):
            if column % times == 0:
                widen(maps[k, y // times, column // times], wide[0], shift)
                for c in range(channels):
                    normal[c] = (normal[c] - mean[k, c]) * scale[k, c]
            widen(gamma[k, y, column], wide[1], shift)
            widen(beta[k, y, column], wide[2], shift)
            for c in range(channels):
                v = normal[c] * g[c] + b[c]
                b[c] = v if v > 0 else np.float32(_SLOPE) * v
            narrow(wide[2], active[k, y, column], shift, half, odd)
            if has_shortcut:
                widen(shortcut[k, y, column], wide[1], shift)
                for c in range(channels):
                    g[c] = normal[c] * g[c]
                narrow(wide[1], other[k, y, column], shift, half, odd)
