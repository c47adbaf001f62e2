"""Which way a convolution is done, by device and number format."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ....errors import WeightsError
from ....system.devices import has_amx
from .convolution import Conv, Deep, Repeated, Taps, flat_kernel, phase_kernels
from .packed import PackedConv, packs
from .winograd import WinogradConv, WinogradDepthConv, pays


@dataclass(frozen=True)
class Convolutions:
    """Makes convolutions in `dtype`, as a device likes them."""

    dtype: torch.dtype
    winograd: bool = False
    """Those of 3×3 whose many channels make it pay, by Winograd's products."""
    volumes: bool = False
    """Those in three dimensions as they are, and not by two."""
    packed: bool = False
    """Weights laid out beforehand."""
    processor: bool = False
    """What is between convolutions, by kernels of ours for processors."""

    @classmethod
    def for_device(cls, device: torch.device, dtype: torch.dtype) -> Convolutions:
        """Winograd for float32 on processors: the libraries of graphics processors have it already."""
        processor = device.type == "cpu"
        return cls(
            dtype,
            winograd=processor and dtype == torch.float32,
            volumes=device.type == "cuda" or (processor and dtype == torch.bfloat16 and has_amx()),
            packed=processor and packs(),
            processor=processor,
        )

    def __call__(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> nn.Module:
        """A convolution (N, I, H, W) → (N, O, H, W). Raises WeightsError as `plain` does."""
        if self._fits(weight):
            _check(weight, bias)
            return WinogradConv(weight, bias, relu=relu)
        return self.plain(weight, bias, relu=relu)

    def plain(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> nn.Module:
        """The plain sum, in two or three dimensions.

        Raises:
            WeightsError: the weights are no numbers. Not each way would show that in the picture: oneDNN's ReLU makes
                a zero of NaN.
        """
        _check(weight, bias)
        return (PackedConv if self.packed else Conv)(weight, bias, self.dtype, relu=relu)

    def repeated(self, weight: Tensor, bias: Tensor, times: int, *, relu: bool = False) -> nn.Module:
        """One on pixels repeated `times` (N, I, H, W) → (N, O, times·H, times·W)."""
        if times == 1:
            return self(weight, bias, relu=relu)
        return Repeated(self.plain(*phase_kernels(weight, bias, times), relu=relu), times)

    def deep(self, weight: Tensor, bias: Tensor, depth: int, *, doubled: bool = False) -> nn.Module:
        """One in three dimensions with a ReLU (B·D, I, H, W) → (B·D, O, H, W), or (B·D, O, 2H, 2W) if `doubled`."""
        if doubled:
            return Repeated(self._deep(*phase_kernels(weight, bias, 2), depth), 2)
        if self._fits(weight):
            _check(weight, bias)
            return WinogradDepthConv(weight, bias, depth, relu=True)
        return self._deep(weight, bias, depth)

    def _deep(self, weight: Tensor, bias: Tensor, depth: int) -> nn.Module:
        if self.volumes:
            return Deep(self.plain(weight, bias, relu=True), depth)
        return Taps(self.plain(flat_kernel(weight), bias, relu=True), depth)

    def in_float32(self) -> Convolutions:
        """The same for what is not to lose digits."""
        return replace(self, dtype=torch.float32, winograd=self.processor)

    def _fits(self, weight: Tensor) -> bool:
        outputs, inputs, *taps = weight.shape
        return self.winograd and taps[-2:] == [3, 3] and pays(inputs, outputs)


def _check(weight: Tensor, bias: Tensor | None) -> None:
    if not all(bool(torch.isfinite(part).all()) for part in (weight, bias) if part is not None):
        raise WeightsError("the networks' weights hold what is no number: see liveportrait-talker models verify.")
