"""Which way a convolution is done: the plain sum, or Winograd's where that is faster."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .convolution import Conv, DepthConv
from .winograd import WinogradConv, WinogradDepthConv, pays


@dataclass(frozen=True)
class Convolutions:
    """Makes convolutions in `dtype`; by `winograd` those of 3×3 whose many channels make it pay."""

    dtype: torch.dtype
    winograd: bool

    def __call__(self, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """A convolution (N, I, H, W) → (N, O, H, W)."""
        if self._fits(weight):
            return WinogradConv(weight, bias)
        return Conv(weight, bias, self.dtype)

    def deep(self, weight: Tensor, bias: Tensor, depth: int) -> nn.Module:
        """One in three dimensions (B·D, I, H, W) → (B·D, O, H, W)."""
        if self._fits(weight):
            return WinogradDepthConv(weight, bias, depth)
        return DepthConv(weight, bias, depth, self.dtype)

    def _fits(self, weight: Tensor) -> bool:
        outputs, inputs, *taps = weight.shape
        return self.winograd and taps[-2:] == [3, 3] and pays(inputs, outputs)
