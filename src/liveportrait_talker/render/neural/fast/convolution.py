"""Convolutions for inference: channels last, with constants folded into the weights.

A volume (B, C, D, H, W) is stored as (B·D, C, H, W): depth is part of the batch. `UpsampledConv` uses that an image
after nearest upsampling has few distinct neighbourhoods (docs/method/liveportrait.md, Fast path).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS_LAST = torch.channels_last
CHANNEL_MULTIPLE = 8  # alignment that tensor cores need


def weight_and_bias(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a layer that has both."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return weight, bias


def fold_batch_norm(block: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a block's `conv` with the batch norm `norm` that follows it folded in."""
    weight, bias = weight_and_bias(block.get_submodule("conv"))
    norm = block.get_submodule("norm")
    assert isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain, offset = weight_and_bias(norm)
    scale = gain / torch.sqrt(norm.running_var + norm.eps)
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), (bias - norm.running_mean) * scale + offset


def pad_channels(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-pad input and output channels to a multiple of 8."""
    more = -len(weight) % CHANNEL_MULTIPLE
    taps = (0, 0) * (weight.dim() - 2)
    return F.pad(weight, (*taps, 0, -weight.shape[1] % CHANNEL_MULTIPLE, 0, more)), F.pad(bias, (0, more))


class Conv(nn.Module):
    """A 2-D or 3-D convolution with zero padding, optionally followed by ReLU.

    The size stays the same, except along axes with a kernel of 2 taps: the output is longer by one there.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", to_channels_last(weight.to(dtype)))
        self.register_buffer("bias", None if bias is None else bias.to(dtype))
        self.padding = [taps // 2 for taps in weight.shape[2:]]
        self.convolve: Callable[..., Tensor] = F.conv2d if weight.dim() == 4 else F.conv3d
        self.relu = relu

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Return conv(x) + addend, after ReLU if set; `addend` may be overwritten."""
        sums = self.convolve(x, self.weight, self.bias, padding=self.padding)
        if addend is not None:
            sums = sums + addend
        return F.relu_(sums) if self.relu else sums


class DepthConv3d(nn.Module):
    """A 3-D convolution of volumes stored as (B·D, I, H, W)."""

    def __init__(self, conv: nn.Module, depth: int) -> None:
        super().__init__()
        self.conv, self.depth = conv, depth

    def forward(self, x: Tensor) -> Tensor:
        """Return (B·D, O, H, W)."""
        volume = x.view(-1, self.depth, *x.shape[1:]).transpose(1, 2)  # (B, I, D, H, W), channels last
        sums: Tensor = self.conv(volume)
        return sums.transpose(1, 2).flatten(0, 1)


class StackedDepthConv2d(nn.Module):
    """The same as `DepthConv3d` by a 2-D convolution of three stacked slices, with the kernel of `stack_depth_taps`."""

    def __init__(self, conv: nn.Module, depth: int) -> None:
        super().__init__()
        self.conv, self.depth = conv, depth

    def forward(self, x: Tensor) -> Tensor:
        """Return (B·D, O, H, W)."""
        planes = x.permute(0, 2, 3, 1)
        slices = planes.reshape(-1, self.depth, *planes.shape[1:])
        padded = F.pad(slices, (0, 0, 0, 0, 0, 0, 1, 1))
        stacked = torch.cat([padded[:, k : k + self.depth] for k in range(3)], dim=-1)
        sums: Tensor = self.conv(stacked.flatten(0, 1).permute(0, 3, 1, 2))
        return sums


def stack_depth_taps(weight: Tensor) -> Tensor:
    """Reshape a kernel (O, I, 3, h, w) to (O, 3·I, h, w), for `StackedDepthConv2d`."""
    return weight.transpose(1, 2).flatten(1, 2)


class UpsampledConv(nn.Module):
    """Nearest upsampling of (N, I, H, W) by `times`, then a 3×3 convolution, without computing repeated values.

    `conv` has the kernels of `make_phase_kernels`. Operations: 16/36 for `times` 2, 36/144 for 4.
    """

    def __init__(self, conv: nn.Module, times: int) -> None:
        super().__init__()
        self.conv, self.times = conv, times

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, O, times·H, times·W)."""
        phases: Tensor = self.conv(x)  # (N, kinds · kinds · O, H + 1, W + 1)
        count, _, height, width = phases.shape
        kinds = len(_pixel_kinds(self.times))
        rows, columns = (self._source_cells(n - 1, x.device) for n in (height, width))
        cells = rows[0][:, None] * width + columns[0]
        kind = rows[1][:, None] * kinds + columns[1]
        at = (cells * kinds**2 + kind).flatten()
        table = phases.permute(0, 2, 3, 1).reshape(count, height * width * kinds**2, -1)
        pixels = table.index_select(1, at).view(count, len(rows[0]), len(columns[0]), -1)
        return pixels.permute(0, 3, 1, 2)

    def _source_cells(self, cells: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return, for each output pixel along an axis, the index in the convolution's output and its kind."""
        pixel = torch.arange(cells * self.times, device=device)
        cell, phase = pixel // self.times, pixel % self.times
        final = (phase == self.times - 1).long()
        return cell + final, (phase > 0).long() + (final if self.times > 2 else 0)


def make_phase_kernels(weight: Tensor, bias: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Return the kernels of a convolution (O, I, …, 3, 3) for each kind of upsampled pixel, and their biases.

    The kernels are stacked to (kinds · kinds · O, I, …, 2, 2), because a kernel covers at most two distinct pixels
    along an axis.
    """
    kinds = _pixel_kinds(times)
    kernels = [_make_phase_kernel(_make_phase_kernel(weight, -2, p), -1, q) for p, q in product(kinds, repeat=2)]
    return torch.cat(kernels), bias.repeat(len(kernels))


def _pixel_kinds(times: int) -> list[str]:
    """Return the kinds of output pixels within one input pixel, along one axis."""
    return ["first", "last"] if times == 2 else ["first", "between", "last"]


def _make_phase_kernel(weight: Tensor, axis: int, kind: str) -> Tensor:
    before, here, after = weight.unbind(axis)
    taps = {
        "first": [before, here + after],
        "between": [torch.zeros_like(here), before + here + after],
        "last": [before + here, after],
    }
    return torch.stack(taps[kind], axis)


class DepthFourierConv(nn.Module):
    """A 3-D convolution of (B·D, I, H, W) with a deep kernel, by a Fourier transform along depth.

    The K depth taps become one 2-D convolution for each of the (D + K) / 2 frequencies, on real and imaginary parts.
    For D = 16 and K = 7 that is 37 % of the operations; the transform is unitary, so it costs no precision. `conv`
    makes these 2-D convolutions from their weights.
    """

    forward_transform: Tensor
    back_transform: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, depth: int, dtype: torch.dtype, conv: Callable[..., nn.Module]):
        super().__init__()
        taps = weight.shape[2]
        self.depth, self.outputs, self.length = depth, weight.shape[0], depth + taps - 1
        assert self.length % 2 == 0
        self.last = self.length // 2
        angle = 2 * torch.pi * torch.arange(self.last + 1, dtype=torch.float64)[:, None] / self.length

        def cos_sin(positions: Tensor) -> tuple[Tensor, Tensor]:
            return torch.cos(angle * positions), torch.sin(angle * positions)

        # Rows: real part of frequency 0, real and imaginary parts of the frequencies between, real part of the last.
        kept = [0, *range(2, 2 * self.last), 2 * self.last]
        cos, sin = cos_sin(torch.arange(depth, dtype=torch.float64))
        rows = torch.stack([cos, -sin], dim=1).flatten(0, 1)[kept]
        self.register_buffer("forward_transform", rows.to(dtype))
        twice = torch.full((self.last + 1, 1), 2.0, dtype=torch.float64)
        twice[0] = twice[-1] = 1
        back = torch.stack([twice * cos, -twice * sin], dim=1).flatten(0, 1)[kept] / self.length
        self.register_buffer("back_transform", back.t().float().contiguous())
        self.register_buffer("bias", bias.float())
        # Convolutions of networks are correlations: the kernel's spectrum is conjugated, so its sine is positive.
        cos, sin = cos_sin(torch.arange(taps, dtype=torch.float64) - taps // 2)
        real, imaginary = (torch.einsum("fk,oikhw->foihw", part, weight.double()) for part in (cos, sin))
        self.convolutions = nn.ModuleList()
        for f in range(self.last + 1):
            kernel = real[f]
            if 0 < f < self.last:
                kernel = torch.cat([torch.cat([real[f], -imaginary[f]], 1), torch.cat([imaginary[f], real[f]], 1)])
            self.convolutions.append(conv(kernel, None))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B·D, O, H, W) float32."""
        count, channels, height, width = x.shape
        batch = count // self.depth
        values = x.permute(0, 2, 3, 1).reshape(batch, self.depth, -1)
        spectrum = (self.forward_transform @ values).view(batch, self.length, height, width, channels)
        outputs = []
        for f, convolve in enumerate(self.convolutions):
            # Frequency f > 0 is preceded by one row of frequency 0 and two rows of each other frequency.
            parts = spectrum[:, :1] if f == 0 else spectrum[:, 2 * f - 1 : 2 * f + 1]
            stacked = parts.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
            outputs.append(convolve(stacked).view(batch, -1, self.outputs, height, width))
        rows = torch.cat(outputs, dim=1).float().flatten(2)
        sums = (self.back_transform @ rows).view(batch * self.depth, self.outputs, height, width)
        return sums + self.bias.view(-1, 1, 1)


def to_channels_last(x: Tensor) -> Tensor:
    """Return `x` with its channels last in memory, for two or three spatial dimensions."""
    return x.contiguous(memory_format=CHANNELS_LAST if x.dim() == 4 else torch.channels_last_3d)
