"""Convolutions as processors and GPUs like them: channels last, with all that is constant folded in.

A volume (B, C, D, H, W) lies here as (B·D, C, H, W): depth is part of the batch. `Repeated` uses that a map repeated by
nearest upsampling has few distinct neighbourhoods (spec liveportrait.md §17).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST = torch.channels_last
MULTIPLE = 8  # of channels: what tensor cores read at once


def weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer that has both."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return weight, bias


def folded(block: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a block's `conv` that does the batch norm `norm` after it, too."""
    weight, bias = weights(block.get_submodule("conv"))
    norm = block.get_submodule("norm")
    assert isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain, offset = weights(norm)
    scale = gain / torch.sqrt(norm.running_var + norm.eps)
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), (bias - norm.running_mean) * scale + offset


def aligned(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """With inputs and outputs that see and give nothing, up to a multiple of channels."""
    more = -len(weight) % MULTIPLE
    rims = (0, 0) * (weight.dim() - 2)
    return F.pad(weight, (*rims, 0, -weight.shape[1] % MULTIPLE, 0, more)), F.pad(bias, (0, more))


class Conv(nn.Module):
    """A convolution of two or three dimensions, zeros beyond the rim; `relu`: and a ReLU after it.

    The size stays, but for kernels of two taps along an axis: their output is longer by one.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", last(weight.to(dtype)))
        self.register_buffer("bias", None if bias is None else bias.to(dtype))
        self.padding = [taps // 2 for taps in weight.shape[2:]]
        self.convolve: Callable[..., Tensor] = F.conv2d if weight.dim() == 4 else F.conv3d
        self.relu = relu

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """The sums, with what is to be added (and is of no use afterwards)."""
        sums = self.convolve(x, self.weight, self.bias, padding=self.padding)
        if plus is not None:
            sums = sums + plus
        return F.relu_(sums) if self.relu else sums


class Deep(nn.Module):
    """A convolution in three dimensions on volumes that lie as (B·D, I, H, W)."""

    def __init__(self, conv: nn.Module, depth: int) -> None:
        super().__init__()
        self.conv, self.depth = conv, depth

    def forward(self, x: Tensor) -> Tensor:
        """(B·D, O, H, W)."""
        volume = x.view(-1, self.depth, *x.shape[1:]).transpose(1, 2)  # (B, I, D, H, W), channels last
        sums: Tensor = self.conv(volume)
        return sums.transpose(1, 2).flatten(0, 1)


class Taps(nn.Module):
    """The same by a convolution in two dimensions of `flat_kernel`: its depth taps are input channels."""

    def __init__(self, conv: nn.Module, depth: int) -> None:
        super().__init__()
        self.conv, self.depth = conv, depth

    def forward(self, x: Tensor) -> Tensor:
        """(B·D, O, H, W)."""
        planes = x.permute(0, 2, 3, 1)
        slices = planes.reshape(-1, self.depth, *planes.shape[1:])
        padded = F.pad(slices, (0, 0, 0, 0, 0, 0, 1, 1))
        beside = torch.cat([padded[:, k : k + self.depth] for k in range(3)], dim=-1)
        sums: Tensor = self.conv(beside.flatten(0, 1).permute(0, 3, 1, 2))
        return sums


def flat_kernel(weight: Tensor) -> Tensor:
    """(O, I, 3, h, w) → (O, 3·I, h, w), for `Taps`."""
    return weight.transpose(1, 2).flatten(1, 2)


class Repeated(nn.Module):
    """Rows and columns of (N, I, H, W) repeated `times`, then a 3×3 convolution, `conv` being that of `phase_kernels`.

    Pixels repeated twice take 16/36 of the operations, four times 36/144.
    """

    def __init__(self, conv: nn.Module, times: int) -> None:
        super().__init__()
        self.conv, self.times = conv, times

    def forward(self, x: Tensor) -> Tensor:
        """(N, O, times·H, times·W)."""
        kinds: Tensor = self.conv(x)  # (N, kinds · kinds · O, H + 1, W + 1)
        count, _, height, width = kinds.shape
        distinct = len(_kinds(self.times))
        rows, columns = (self._seen(n - 1, x.device) for n in (height, width))
        cells = rows[0][:, None] * width + columns[0]
        phases = rows[1][:, None] * distinct + columns[1]
        at = (cells * distinct**2 + phases).flatten()
        table = kinds.permute(0, 2, 3, 1).reshape(count, height * width * distinct**2, -1)
        pixels = table.index_select(1, at).view(count, len(rows[0]), len(columns[0]), -1)
        return pixels.permute(0, 3, 1, 2)

    def _seen(self, cells: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """For each pixel along an axis: the place whose neighbourhood it sees, and which kind of pixel it is."""
        pixel = torch.arange(cells * self.times, device=device)
        cell, phase = pixel // self.times, pixel % self.times
        final = (phase == self.times - 1).long()
        return cell + final, (phase > 0).long() + (final if self.times > 2 else 0)


def phase_kernels(weight: Tensor, bias: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Of a kernel (O, I, …, 3, 3) for pixels repeated `times`: one for each kind of row and column, side by side.

    They are (kinds · kinds · O, I, …, 2, 2): a pixel sees no more than two of the distinct ones along an axis.
    """
    kinds = _kinds(times)
    kernels = [_phase(_phase(weight, -2, p), -1, q) for p, q in product(kinds, repeat=2)]
    return torch.cat(kernels), bias.repeat(len(kernels))


def _kinds(times: int) -> list[str]:
    """Of pixels in a cell."""
    return ["first", "last"] if times == 2 else ["first", "between", "last"]


def _phase(weight: Tensor, axis: int, kind: str) -> Tensor:
    before, here, after = weight.unbind(axis)
    taps = {
        "first": [before, here + after],
        "between": [torch.zeros_like(here), before + here + after],
        "last": [before + here, after],
    }
    return torch.stack(taps[kind], axis)


class DepthSpectrum(nn.Module):
    """A convolution in three dimensions with a deep kernel, on (B·D, I, H, W), by a Fourier transform along depth.

    Along depth a product of spectra takes the place of K taps: one 2-D convolution for each of the (D + K) / 2
    frequencies, on real and imaginary parts side by side. For D = 16 and K = 7 that is 37 % of the operations, and
    as the transform is unitary it costs no precision. `conv` makes these convolutions of their weights.
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

        def wave(positions: Tensor) -> tuple[Tensor, Tensor]:
            return torch.cos(angle * positions), torch.sin(angle * positions)

        # Rows: the real part of frequency 0, real and imaginary parts of those between, the real part of the last.
        kept = [0, *range(2, 2 * self.last), 2 * self.last]
        cos, sin = wave(torch.arange(depth, dtype=torch.float64))
        rows = torch.stack([cos, -sin], dim=1).flatten(0, 1)[kept]
        self.register_buffer("forward_transform", rows.to(dtype))
        twice = torch.full((self.last + 1, 1), 2.0, dtype=torch.float64)
        twice[0] = twice[-1] = 1
        back = torch.stack([twice * cos, -twice * sin], dim=1).flatten(0, 1)[kept] / self.length
        self.register_buffer("back_transform", back.t().float().contiguous())
        self.register_buffer("bias", bias.float())
        # A network's convolution is a correlation: the kernel's spectrum is conjugated, so its sine is +.
        cos, sin = wave(torch.arange(taps, dtype=torch.float64) - taps // 2)
        real, imaginary = (torch.einsum("fk,oikhw->foihw", part, weight.double()) for part in (cos, sin))
        self.convolutions = nn.ModuleList()
        for f in range(self.last + 1):
            kernel = real[f]
            if 0 < f < self.last:
                kernel = torch.cat([torch.cat([real[f], -imaginary[f]], 1), torch.cat([imaginary[f], real[f]], 1)])
            self.convolutions.append(conv(kernel, None))

    def forward(self, x: Tensor) -> Tensor:
        """(B·D, O, H, W) float32, nothing after the sums."""
        count, channels, height, width = x.shape
        batch = count // self.depth
        values = x.permute(0, 2, 3, 1).reshape(batch, self.depth, -1)
        spectrum = (self.forward_transform @ values).view(batch, self.length, height, width, channels)
        answers = []
        for f, convolve in enumerate(self.convolutions):
            # The rows before frequency f > 0 are one of frequency 0 and two of each since.
            parts = spectrum[:, :1] if f == 0 else spectrum[:, 2 * f - 1 : 2 * f + 1]
            seen = parts.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
            answers.append(convolve(seen).view(batch, -1, self.outputs, height, width))
        rows = torch.cat(answers, dim=1).float().flatten(2)
        sums = (self.back_transform @ rows).view(batch * self.depth, self.outputs, height, width)
        return sums + self.bias.view(-1, 1, 1)


def last(x: Tensor) -> Tensor:
    """The same with its channels last, in two or three dimensions."""
    return x.contiguous(memory_format=LAST if x.dim() == 4 else torch.channels_last_3d)
