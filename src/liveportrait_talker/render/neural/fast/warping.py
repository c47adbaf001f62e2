"""W for inference: `nets.WarpingNetwork`, its volumes laid out as (B·16, C, H, W), channels last.

The convolutions are those of `convolution` or `winograd`; the deep mask kernel goes through a Fourier transform along
depth. The 21 moved volumes are translations, so that one interpolation matrix an axis does for sampling, and a Gaussian
in three dimensions is a product of three. What decides where a pixel comes from (coordinates, sampling, the last two
convolutions: 3 % of the work) stays in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.warping import Hourglass, WarpingNetwork, coordinate_grid
from .convolution import LAST, Conv, DepthConv, DepthSpectrum, folded, weights
from .factory import Convolutions

DEPTH = 16
_HEAT_VARIANCE = 0.01
_KERNEL = 7  # of the occlusion map


class FastWarping(nn.Module):
    """As `WarpingNetwork`, on volumes (B, 32, 16, 64, 64) in any dtype; the heavy convolutions in `dtype`."""

    occlusion_weight: Tensor
    occlusion_bias: Tensor

    def __init__(self, reference: WarpingNetwork, dtype: torch.dtype, *, winograd: bool = False) -> None:
        super().__init__()
        motion = reference.dense_motion_network
        self.dtype, self.winograd = dtype, winograd
        # Its own names: `compress` and `norm` lie side by side with the other networks.
        weight, bias = folded(nn.ModuleDict({"conv": motion.compress, "norm": motion.norm}))
        self.compress = Conv(weight[..., 0], bias, torch.float32)
        self.hourglass = _Hourglass(motion.hourglass, Convolutions(dtype, winograd))
        self.mask = DepthSpectrum(*weights(motion.mask), DEPTH, dtype)
        # One output alone would leave a convolution idle: all taps as a matrix product, then summed where they belong.
        weight, bias = weights(motion.occlusion)
        taps = weight.flip(2, 3).reshape(-1, DEPTH, _KERNEL**2)
        self.register_buffer("occlusion_weight", taps.transpose(0, 1).flatten(0, 1).to(dtype).contiguous())
        self.register_buffer("occlusion_bias", bias.float())
        self.third = Convolutions(torch.float32, winograd)(*folded(reference.third))
        self.fourth = Conv(*weights(reference.fourth), torch.float32)

    def regions(self) -> list[nn.Module]:
        """The parts that are worth compiling; with Winograd's little is left that gains."""
        return [] if self.winograd else [self.hourglass, self.mask]

    def forward(self, feature_3d: Tensor, *, kp_source: Tensor, kp_driving: Tensor) -> dict[str, Tensor]:
        """Warped features, occlusion and deformation by name, float32."""
        volume = feature_3d.float()
        batch, size = len(volume), volume.shape[2:]
        shifts = kp_source - kp_driving  # (B, 21, 3)
        h = self.hourglass(self._groups(volume, kp_source, kp_driving, shifts))  # (B·D, 142, H, W)

        mask = self.mask(h).permute(0, 2, 3, 1).softmax(dim=-1).view(batch, *size, -1)
        moved = mask[..., 1:].flatten(1, 3) @ shifts  # the background's share moves nothing
        deformation = coordinate_grid(size, like=shifts) + moved.view(batch, *size, 3)
        occlusion = torch.sigmoid(self._occlusion(h, batch))

        seen = F.grid_sample(volume, deformation, padding_mode="zeros", align_corners=False).flatten(1, 2)
        out = F.leaky_relu_(self.third(seen.contiguous(memory_format=LAST)), 0.01)
        return {"out": self.fourth(out) * occlusion, "occlusion_map": occlusion, "deformation": deformation}

    def _groups(self, volume: Tensor, kp_source: Tensor, kp_driving: Tensor, shifts: Tensor) -> Tensor:
        """What the hourglass sees (B·D, 110, H, W): for each field its heat map and the four compressed channels."""
        batch, size = len(volume), volume.shape[2:]
        small = F.relu_(self.compress(volume.flatten(2, 3))).view(batch, -1, *size)
        fields = F.pad(shifts, (0, 0, 1, 0))  # (B, 22, 3), the background first
        groups = volume.new_empty((batch, *size, fields.shape[1], 1 + small.shape[1]), dtype=self.dtype)
        groups[..., 1:] = _translated(small, fields).permute(0, 3, 4, 5, 1, 2)
        groups[..., 0, 0] = 0
        groups[..., 1:, 0] = (_heat_maps(size, kp_driving) - _heat_maps(size, kp_source)).permute(0, 2, 3, 4, 1)
        return groups.flatten(4).flatten(0, 1).permute(0, 3, 1, 2)

    def _occlusion(self, h: Tensor, batch: int) -> Tensor:
        """(B, 1, H, W) before the sigmoid."""
        height, width = h.shape[2:]
        rows = h.view(batch, DEPTH, -1, height, width).permute(0, 3, 4, 1, 2).flatten(3).flatten(1, 2)
        taps = (rows @ self.occlusion_weight).float().transpose(1, 2)  # (B, 49, H·W)
        sums = F.fold(taps, (height, width), _KERNEL, padding=_KERNEL // 2)
        return sums + self.occlusion_bias


class _Hourglass(nn.Module):
    """What the dense motion network sees (B·D, 110, H, W) → its features (B·D, 142, H, W)."""

    def __init__(self, reference: Hourglass, conv: Convolutions) -> None:
        super().__init__()
        encoder, decoder = reference.encoder, reference.decoder
        self.down = nn.ModuleList(conv.deep(*folded(b), DEPTH) for b in encoder.down_blocks)
        self.up = nn.ModuleList(DepthConv(*folded(b), DEPTH, conv.dtype, doubled=True) for b in decoder.up_blocks)
        self.last = conv.deep(*folded(decoder), DEPTH)

    def forward(self, x: Tensor) -> Tensor:
        """Sums and ReLU at every size, each doubled map beside the one of its size that was passed by."""
        maps = [x]
        for down in self.down:
            maps.append(F.avg_pool2d(F.relu_(down(maps[-1])), 2))
        y = maps.pop()
        for up in self.up:
            y = torch.cat([F.relu_(up(y)), maps.pop()], dim=1)
        return F.relu_(self.last(y))


def _translated(volume: Tensor, shifts: Tensor) -> Tensor:
    """(B, K, C, D, H, W): `volume` (B, C, D, H, W) sampled at the coordinate grid plus each of `shifts` (B, K, 3)."""
    deep, high, wide = (
        _interpolation(n, shifts[..., axis]) for axis, n in zip((2, 1, 0), volume.shape[2:], strict=True)
    )
    moved = torch.einsum("bcdhw,bkxw->bkcdhx", volume, wide)
    moved = torch.einsum("bkyh,bkcdhx->bkcdyx", high, moved)
    return torch.einsum("bkzd,bkcdyx->bkczyx", deep, moved)


def _interpolation(length: int, shift: Tensor) -> Tensor:
    """Matrices (B, K, n, n) that sample n cells linearly at the grid plus `shift` (B, K); zeros beyond the ends.

    The grid has ±1 at the centres of the outermost cells and is read with ±1 at their edges, as the reference does.
    """
    cells = torch.arange(length, dtype=shift.dtype, device=shift.device)
    grid = torch.linspace(-1, 1, length, dtype=shift.dtype, device=shift.device) + shift[..., None]
    at = ((grid + 1) * length - 1) / 2
    return (1 - (at[..., None] - cells).abs()).clamp(min=0)


def _heat_maps(size: torch.Size, points: Tensor) -> Tensor:
    """A Gaussian (B, 21, D, H, W) about each of `points` (B, 21, 3), 1 at its centre."""
    deep, high, wide = (
        torch.exp(
            -0.5
            * (torch.linspace(-1, 1, n, dtype=points.dtype, device=points.device) - points[..., axis, None]).square()
            / _HEAT_VARIANCE
        )
        for axis, n in zip((2, 1, 0), size, strict=True)
    )
    return deep[..., :, None, None] * high[..., None, :, None] * wide[..., None, None, :]
