"""Choice of the implementation of a convolution, by device and dtype."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ....errors import WeightsError
from ....system.devices import has_amx
from .convolution import Conv, DepthConv3d, StackedDepthConv2d, UpsampledConv, make_phase_kernels, stack_depth_taps
from .modulation import FusedSpadeModulation, Spade, SpadeModulation
from .packed import PackedConv, packing_available
from .winograd import WinogradConv, WinogradDepthConv, winograd_pays
from .winograd_spade import Parameters, WinogradSpade


@dataclass(frozen=True)
class ConvFactory:
    """Builds convolutions from their weights."""

    dtype: torch.dtype
    winograd: bool = False
    """Use Winograd convolution for 3×3 kernels with enough channels; for 3-D ones only in float32."""
    native_3d: bool = False
    """Compute 3-D convolutions as such, not by 2-D ones."""
    packed: bool = False
    """Lay out weights for oneDNN beforehand."""
    cpu: bool = False
    """Use Numba kernels between the convolutions."""

    @classmethod
    def for_device(cls, device: torch.device, dtype: torch.dtype) -> ConvFactory:
        """Return the fastest settings. Winograd is for CPUs without AMX only, because GPU libraries include it."""
        cpu = device.type == "cpu"
        return cls(
            dtype,
            winograd=cpu and not (dtype == torch.bfloat16 and has_amx()),
            native_3d=device.type == "cuda" or (cpu and dtype == torch.bfloat16 and has_amx()),
            packed=cpu and packing_available(),
            cpu=cpu,
        )

    def __call__(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> nn.Module:
        """Build a convolution (N, I, H, W) → (N, O, H, W). Raises WeightsError as `direct` does."""
        if self._uses_winograd(weight):
            _check_finite(weight, bias)
            return WinogradConv(weight, bias, relu=relu)
        return self.direct(weight, bias, relu=relu)

    def direct(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> nn.Module:
        """Build a direct convolution in two or three dimensions.

        Raises:
            WeightsError: the weights are not finite. The image need not show that: oneDNN's ReLU turns NaN into 0.
        """
        _check_finite(weight, bias)
        return (PackedConv if self.packed else Conv)(weight, bias, self.dtype, relu=relu)

    def upsampled(self, weight: Tensor, bias: Tensor, times: int, *, relu: bool = False) -> nn.Module:
        """Build nearest upsampling and a convolution (N, I, H, W) → (N, O, times·H, times·W)."""
        if times == 1:
            return self(weight, bias, relu=relu)
        return UpsampledConv(self.direct(*make_phase_kernels(weight, bias, times), relu=relu), times)

    def volume(self, weight: Tensor, bias: Tensor, depth: int, *, upsample: bool = False) -> nn.Module:
        """Build a 3-D convolution with ReLU (B·D, I, H, W) → (B·D, O, H, W), or (B·D, O, 2H, 2W) if `upsample`."""
        if upsample:
            return UpsampledConv(self._direct_volume(*make_phase_kernels(weight, bias, 2), depth), 2)
        if self.dtype == torch.float32 and self._uses_winograd(weight):
            _check_finite(weight, bias)
            return WinogradDepthConv(weight, bias, depth, relu=True)
        return self._direct_volume(weight, bias, depth)

    def _direct_volume(self, weight: Tensor, bias: Tensor, depth: int) -> nn.Module:
        if self.native_3d:
            return DepthConv3d(self.direct(weight, bias, relu=True), depth)
        return StackedDepthConv2d(self.direct(stack_depth_taps(weight), bias, relu=True), depth)

    def spade(
        self, gamma: Parameters, beta: Parameters, shortcut_gamma: Parameters | None = None, *, upsample: bool = False
    ) -> nn.Module:
        """Build a SPADE normalisation (x, shared features, those of the shortcut) → `SpadeModulation`'s result."""
        if self._uses_winograd(torch.cat([gamma[0], beta[0]])):
            for part in (gamma, beta, shortcut_gamma):
                if part is not None:
                    _check_finite(*part)
            return WinogradSpade(gamma, beta, shortcut_gamma, upsample=upsample, products=self.dtype)
        modulation = FusedSpadeModulation if self.cpu else SpadeModulation
        shortcut = None if shortcut_gamma is None else self(*shortcut_gamma)
        return Spade(modulation(upsample=upsample), self(*gamma), self(*beta), shortcut)

    def in_float32(self) -> ConvFactory:
        """Return a factory for layers that need full precision."""
        return replace(self, dtype=torch.float32, winograd=self.cpu)

    def _uses_winograd(self, weight: Tensor) -> bool:
        outputs, inputs, *taps = weight.shape
        return self.winograd and taps[-2:] == [3, 3] and winograd_pays(inputs, outputs)


def _check_finite(weight: Tensor, bias: Tensor | None) -> None:
    if not all(bool(torch.isfinite(part).all()) for part in (weight, bias) if part is not None):
        raise WeightsError("the networks' weights are not finite: see liveportrait-talker models verify.")
