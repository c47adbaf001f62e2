"""SPADE between two convolutions: instance normalisation, times γ plus β, leaky ReLU.

`SpadeModulation` is the definition; it is used on GPUs, where `torch.compile` fuses it. `FusedSpadeModulation` is for
CPUs, where torch would make a pass over memory for each step, some of them in an unfavourable memory order. `Spade`
adds the convolutions for γ and β; `winograd_spade` does both at once.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....arrays import Floats32
from ....system.jit import kernel
from .bf16_views import FORMATS, integer_view, narrow, widen
from .threads import run_in_threads

SLOPE = 0.2
_EPS = 1e-5


class SpadeModulation(nn.Module):
    """SPADE of (B, C, h, w) with given γ and β; `upsample`: nearest upsampling ×2 after normalisation."""

    def __init__(self, *, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample

    def forward(
        self, x: Tensor, gamma: Tensor, beta: Tensor, shortcut_gamma: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return leaky(normal · γ + β), and normal · `shortcut_gamma` if given; normal is `x` normalised."""
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        normal = ((x.float() - mean) * torch.rsqrt(variance + _EPS)).to(x.dtype)
        if self.upsample:
            normal = F.interpolate(normal, scale_factor=2, mode="nearest")
        active = F.leaky_relu_(torch.addcmul(beta, normal, gamma), SLOPE)
        return active, None if shortcut_gamma is None else normal * shortcut_gamma


class FusedSpadeModulation(SpadeModulation):
    """The same on the CPU, in one pass after the statistics; float32 or bfloat16, channels last."""

    def forward(
        self, x: Tensor, gamma: Tensor, beta: Tensor, shortcut_gamma: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the same as `SpadeModulation`, channels last."""
        times, bit_format = 2 if self.upsample else 1, FORMATS[x.dtype]
        count, channels, height, width = x.shape
        assert gamma.shape == beta.shape == (count, channels, times * height, times * width)
        assert shortcut_gamma is None or shortcut_gamma.shape == gamma.shape
        view, active = integer_view(x), torch.empty_like(gamma)
        statistics = compute_statistics(x)
        # The kernel's arrays cannot be None: without a shortcut, arrays that it does not touch are passed.
        has_shortcut = shortcut_gamma is not None
        by, shortcut = (gamma, active) if shortcut_gamma is None else (shortcut_gamma, torch.empty_like(shortcut_gamma))
        inputs = integer_view(gamma), integer_view(beta), integer_view(by)
        outputs = integer_view(active), integer_view(shortcut)

        def work(low: int, high: int) -> None:
            _modulate(view, statistics, inputs, outputs, has_shortcut, times, low, high, tuple(bit_format))

        run_in_threads(work, gamma.shape[0] * gamma.shape[2])
        return active, shortcut if has_shortcut else None


class Spade(nn.Module):
    """SPADE of `x` with γ and β from convolutions of shared features; the shortcut's γ from those of another one."""

    def __init__(
        self, modulate: SpadeModulation, gamma: nn.Module, beta: nn.Module, shortcut_gamma: nn.Module | None
    ) -> None:
        super().__init__()
        self.modulate, self.gamma, self.beta, self.shortcut_gamma = modulate, gamma, beta, shortcut_gamma

    def forward(self, x: Tensor, shared: Tensor, shortcut_shared: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the same as `SpadeModulation`."""
        by = None if self.shortcut_gamma is None else self.shortcut_gamma(shortcut_shared)
        result: tuple[Tensor, Tensor | None] = self.modulate(x, self.gamma(shared), self.beta(shared), by)
        return result


def compute_statistics(x: Tensor) -> tuple[Floats32, Floats32]:
    """Return mean and 1 / standard deviation (B, C) of each channel of a channels-last tensor (B, C, H, W)."""
    view, shift = integer_view(x), FORMATS[x.dtype].shift
    count, height, width, channels = view.shape
    row = (view[:, height // 2].astype(np.uint32) << np.uint32(shift)).view(np.float32)
    near = row.mean(axis=1)  # (B, C): sums are taken relative to an approximate mean, to avoid cancellation
    sums = np.zeros((height, 2, count, channels))
    run_in_threads(lambda low, high: _accumulate(view, near, sums, low, high, shift), height)
    with np.errstate(invalid="ignore"):  # NaN reaches the image, where it is detected
        mean, square = sums.sum(axis=0) / (height * width)
        scale = 1 / np.sqrt(np.maximum(square - mean**2, 0) + _EPS)
        return (mean + near).astype(np.float32), scale.astype(np.float32)


@kernel
def _accumulate(view, near, sums, top, end, shift):  # type: ignore[no-untyped-def]
    """Sum differences from `near` and their squares (2, B, C) over each row from `top` to `end`."""
    count, _, width, channels = view.shape
    wide = np.zeros(channels, np.uint32)
    x = wide.view(np.float32)
    row = np.zeros((2, channels), np.float32)
    for k in range(count):
        for y in range(top, end):
            row[:] = 0
            for column in range(width):
                widen(view[k, y, column], wide, shift)
                for c in range(channels):
                    d = x[c] - near[k, c]
                    row[0, c] += d
                    row[1, c] += d * d
            for c in range(channels):
                sums[y, 0, k, c] = row[0, c]
                sums[y, 1, k, c] = row[1, c]


@kernel
def _modulate(  # type: ignore[no-untyped-def]
    view, statistics, inputs, outputs, has_shortcut, times, first, last, bit_format
):
    """Process rows `first` … `last` of all rows of all images of γ."""
    mean, scale = statistics
    gamma, beta, shortcut_gamma = inputs
    active, shortcut = outputs
    shift, half, odd = bit_format
    _, height, width, channels = gamma.shape
    wide = np.zeros((3, channels), np.uint32)
    numbers = wide.view(np.float32)
    normal, g, b = numbers[0], numbers[1], numbers[2]
    for row in range(first, last):
        k, y = row // height, row % height
        for column in range(width):
            if column % times == 0:
                widen(view[k, y // times, column // times], wide[0], shift)
                for c in range(channels):
                    normal[c] = (normal[c] - mean[k, c]) * scale[k, c]
            widen(gamma[k, y, column], wide[1], shift)
            widen(beta[k, y, column], wide[2], shift)
            for c in range(channels):
                v = normal[c] * g[c] + b[c]
                b[c] = v if v > 0 else np.float32(SLOPE) * v
            narrow(wide[2], active[k, y, column], shift, half, odd)
            if has_shortcut:
                widen(shortcut_gamma[k, y, column], wide[1], shift)
                for c in range(channels):
                    g[c] = normal[c] * g[c]
                narrow(wide[1], shortcut[k, y, column], shift, half, odd)
