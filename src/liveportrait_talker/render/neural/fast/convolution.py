"""Convolutions as processors and GPUs like them: two-dimensional, channels last, with all that is constant folded in.

A volume (B, C, D, H, W) lies here as (B·D, C, H, W): depth is part of the batch, and the depth taps of a kernel become
input channels. `RepeatedConv` uses that a map repeated by nearest upsampling has few distinct neighbourhoods (spec
liveportrait.md §17).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST = torch.channels_last


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


def phase_kernel(weight: Tensor, axis: int, phase: int, times: int) -> Tensor:
    """A kernel of 3 taps along `axis`, for output pixel `phase` of each `times`-fold repeated pixel: 2 taps or 1.

    Its taps are the pixel before and the pixel itself (phase 0), the pixel itself and the one after (the last
    phase), or the pixel itself (all others).
    """
    before, here, after = weight.unbind(axis)
    if phase == 0:
        taps = [before, here + after]
    elif phase == times - 1:
        taps = [before + here, after]
    else:
        taps = [before + here + after]
    return torch.stack(taps, axis)


class Conv(nn.Module):
    """A convolution (N, I, H, W) → (N, O, H, W), zeros beyond the rim."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(dtype).contiguous(memory_format=LAST))
        self.register_buffer("bias", None if bias is None else bias.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        """The sums, nothing after them."""
        return F.conv2d(x, self.weight, self.bias, padding="same")


class DepthConv(nn.Module):
    """A convolution in three dimensions on (B·D, I, H, W); `doubled`: rows and columns are doubled before."""

    def __init__(self, weight: Tensor, bias: Tensor, depth: int, dtype: torch.dtype, *, doubled: bool = False) -> None:
        super().__init__()
        self.depth = depth
        self.conv = (RepeatedConv if doubled else Conv)(flat_kernel(weight), bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(B·D, O, H, W), or (B·D, O, 2H, 2W)."""
        sums: Tensor = self.conv(depth_taps(x, self.depth))
        return sums


class RepeatedConv(nn.Module):
    """Rows and columns of (N, I, H, W) repeated, then a 3×3 convolution: (N, O, times·H, times·W).

    Pixels repeated twice take 16/36 of the operations, four times 25/144.
    """

    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, times: int = 2) -> None:
        super().__init__()
        self.times = times
        self.kinds = sorted({0, 1, times - 1})  # of pixels in a cell: the first, those between, the last
        self.register_buffer("bias", bias.to(dtype))
        for p, q in product(self.kinds, repeat=2):
            kernel = phase_kernel(phase_kernel(weight, 2, p, times), 3, q, times)
            self.register_buffer(f"weight_{p}{q}", kernel.to(dtype).contiguous(memory_format=LAST))

    def forward(self, x: Tensor) -> Tensor:
        """The sums, nothing after them."""
        count, _, height, width = x.shape
        out = torch.empty(
            (count, len(self.bias), self.times * height, self.times * width),
            dtype=x.dtype,
            device=x.device,
            memory_format=LAST,
        )
        for (p, q), seen in self.maps(x):
            for i, j in product(self._pixels(p), self._pixels(q)):
                out[:, :, i :: self.times, j :: self.times] = seen
        return out

    def maps(self, x: Tensor) -> Iterator[tuple[tuple[int, int], Tensor]]:
        """The sums (N, O, H, W) at the pixels of each kind of row and column, with their kinds."""
        height, width = x.shape[2:]
        padded = padded_by_one(x)
        for p, q in product(self.kinds, repeat=2):
            kernel = getattr(self, f"weight_{p}{q}")
            (top, left), (kh, kw) = (int(p > 0), int(q > 0)), kernel.shape[2:]
            seen = padded[:, :, top : top + height + kh - 1, left : left + width + kw - 1]
            yield (p, q), F.conv2d(seen, kernel, self.bias)

    def _pixels(self, kind: int) -> range:
        """Those of a cell that are of one kind."""
        return range(1, self.times - 1) if 0 < kind < self.times - 1 else range(kind, kind + 1)


class DepthSpectrum(nn.Module):
    """A convolution in three dimensions with a deep kernel, on (B·D, I, H, W), by a Fourier transform along depth.

    Along depth a product of spectra takes the place of K taps: one 2-D convolution for each of the (D + K) / 2
    frequencies, on real and imaginary parts side by side. For D = 16 and K = 7 that is 37 % of the operations, and
    as the transform is unitary it costs no precision.
    """

    forward_transform: Tensor
    back_transform: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, depth: int, dtype: torch.dtype) -> None:
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
        for f in range(self.last + 1):
            kernel = real[f]
            if 0 < f < self.last:
                kernel = torch.cat([torch.cat([real[f], -imaginary[f]], 1), torch.cat([imaginary[f], real[f]], 1)])
            self.register_buffer(f"weight_{f}", kernel.to(dtype).contiguous(memory_format=LAST))

    def forward(self, x: Tensor) -> Tensor:
        """(B·D, O, H, W) float32, nothing after the sums."""
        count, channels, height, width = x.shape
        batch = count // self.depth
        values = x.permute(0, 2, 3, 1).reshape(batch, self.depth, -1)
        spectrum = (self.forward_transform @ values).view(batch, self.length, height, width, channels)
        answers = []
        for f in range(self.last + 1):
            weight = getattr(self, f"weight_{f}")
            # The rows before frequency f > 0 are one of frequency 0 and two of each since.
            parts = spectrum[:, :1] if f == 0 else spectrum[:, 2 * f - 1 : 2 * f + 1]
            seen = parts.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
            answer = F.conv2d(seen, weight, padding="same")
            answers.append(answer.view(batch, -1, self.outputs, height, width))
        rows = torch.cat(answers, dim=1).float().flatten(2)
        sums = (self.back_transform @ rows).view(batch * self.depth, self.outputs, height, width)
        return sums + self.bias.view(-1, 1, 1)


def flat_kernel(weight: Tensor) -> Tensor:
    """(O, I, K, h, w) → (O, K·I, h, w), for `depth_taps`."""
    return weight.transpose(1, 2).flatten(1, 2)


def depth_taps(x: Tensor, depth: int) -> Tensor:
    """(B·D, C, H, W) → (B·D, 3·C, H, W): each slice between its neighbours, zeros beyond the ends."""
    _, channels, height, width = x.shape
    slices = x.permute(0, 2, 3, 1).reshape(-1, depth, height, width, channels)
    padded = F.pad(slices, (0, 0, 0, 0, 0, 0, 1, 1))
    beside = torch.cat([padded[:, k : k + depth] for k in range(3)], dim=-1)
    return beside.flatten(0, 1).permute(0, 3, 1, 2)


def padded_by_one(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, C, H + 2, W + 2) with zeros about it, channels last."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).permute(0, 3, 1, 2)
