"""W, the warping network: moves a feature volume from source to driving key points (spec liveportrait.md §6).

Grids hold x, y, z in −1…1 with the centres of the first and last cells at ±1, but are sampled with
`align_corners=False`. The mismatch of half a cell is part of the trained network (§3).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEYPOINTS = 21
_FIELDS = KEYPOINTS + 1  # the background does not move
_COMPRESSED = 4  # channels of the volume that the dense motion network looks at
_HEAT_VARIANCE = 0.01
_ENCODER = (64, 128, 256, 512, 1024)
_DECODER = (512, 256, 128, 64, 32)


class WarpingNetwork(nn.Module):
    """Feature volume (B, 32, 16, 64, 64), key points (B, 21, 3) → what the generator draws.

    Returns a dict: `out` (B, 256, 64, 64); `occlusion_map` (B, 1, 64, 64) in 0…1; `deformation` (B, 16, 64, 64, 3),
    where in the source each cell comes from, x, y, z in −1…1. Coordinates are kept in the key points' own dtype,
    features in the volume's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = _DenseMotion()
        self.third = _ConvNormLeaky(512, 256)
        self.fourth = nn.Conv2d(256, 256, 1)

    def forward(self, feature_3d: Tensor, *, kp_source: Tensor, kp_driving: Tensor) -> dict[str, Tensor]:
        """Warped features, occlusion and deformation by name."""
        deformation, occlusion_map = self.dense_motion_network(feature_3d, kp_source, kp_driving)
        moved = _sample(feature_3d, deformation).flatten(1, 2)  # (B, 512, 64, 64)
        out = self.fourth(self.third(moved)) * occlusion_map
        return {"out": out, "occlusion_map": occlusion_map, "deformation": deformation}


class _DenseMotion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels = _FIELDS * (1 + _COMPRESSED)
        self.compress = nn.Conv3d(32, _COMPRESSED, 1)
        self.norm = nn.BatchNorm3d(_COMPRESSED)
        self.hourglass = Hourglass(channels)
        self.mask = nn.Conv3d(channels + _DECODER[-1], _FIELDS, 7, padding=3)
        self.occlusion = nn.Conv2d((channels + _DECODER[-1]) * 16, 1, 7, padding=3)

    def forward(self, feature_3d: Tensor, kp_source: Tensor, kp_driving: Tensor) -> tuple[Tensor, Tensor]:
        """Deformation (B, D, H, W, 3) and occlusion (B, 1, H, W)."""
        volume = F.relu(self.norm(self.compress(feature_3d)))  # (B, 4, D, H, W)
        grid = coordinate_grid(volume.shape[2:], like=kp_driving)
        fields = _sparse_motions(grid, kp_source, kp_driving)  # (B, 22, D, H, W, 3)
        copies = volume[:, None].expand(-1, _FIELDS, -1, -1, -1, -1)
        seen = _sample(copies.flatten(0, 1), fields.flatten(0, 1)).view_as(copies)  # (B, 22, 4, D, H, W)
        heat = (_heat_maps(grid, kp_driving) - _heat_maps(grid, kp_source)).to(volume.dtype)
        groups = torch.cat([F.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None], seen], dim=2)  # (B, 22, 5, D, H, W)

        h = self.hourglass(groups.flatten(1, 2))  # (B, 142, D, H, W)
        mask = self.mask(h).softmax(dim=1)
        deformation = torch.einsum("bkdhw,bkdhwc->bdhwc", mask.to(fields.dtype), fields)
        occlusion = torch.sigmoid(self.occlusion(h.flatten(1, 2)))
        return deformation, occlusion


def coordinate_grid(shape: tuple[int, ...] | torch.Size, *, like: Tensor) -> Tensor:
    """Grid (D, H, W, 3) of x, y, z in −1…1, ±1 at the centres of the outermost cells."""
    z, y, x = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in shape)
    grid_z, grid_y, grid_x = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([grid_x, grid_y, grid_z], dim=-1)


def _sparse_motions(grid: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    """Fields (B, 22, D, H, W, 3): the resting background, then one translation for each key point."""
    shifts = F.pad(kp_source - kp_driving, (0, 0, 1, 0))  # (B, 22, 3)
    return grid + shifts[:, :, None, None, None]


def _heat_maps(grid: Tensor, points: Tensor) -> Tensor:
    """A Gaussian (B, 21, D, H, W) about each of `points` (B, 21, 3), 1 at its centre."""
    distance2 = (grid - points[:, :, None, None, None]).square().sum(dim=-1)
    return torch.exp(-0.5 * distance2 / _HEAT_VARIANCE)


def _sample(volume: Tensor, grid: Tensor) -> Tensor:
    """Trilinear samples (N, C, D, H, W) of `volume` at `grid` (N, D, H, W, 3); zeros outside."""
    # In the finer of the two types: half precision has too few digits for a coordinate.
    dtype = torch.promote_types(volume.dtype, grid.dtype)
    sampled = F.grid_sample(volume.to(dtype), grid.to(dtype), padding_mode="zeros", align_corners=False)
    return sampled.to(volume.dtype)


class Hourglass(nn.Module):
    """(B, C, 16, 64, 64) → (B, C + 32, 16, 64, 64); height and width shrink and grow again, depth stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder = _Encoder(channels)
        self.decoder = _Decoder(channels)

    def forward(self, x: Tensor) -> Tensor:
        """The maps seen, and what all sizes of them say."""
        h: Tensor = self.decoder(self.encoder(x))
        return h


class _Encoder(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, *_ENCODER)
        self.down_blocks = nn.ModuleList(_ConvNormReLU3d(*pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The input and what each block makes of it, the smallest last."""
        maps = [x]
        for block in self.down_blocks:
            maps.append(_halve(block(maps[-1])))
        return maps


def _halve(x: Tensor) -> Tensor:
    """Half the height and width of (B, C, D, H, W), in two dimensions: pooling in three knows no bfloat16 on a CPU."""
    height, width = x.shape[-2:]
    return F.avg_pool2d(x.flatten(1, 2), 2).view(*x.shape[:3], height // 2, width // 2)


class _Decoder(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        skips = (0, *_ENCODER[-2::-1])  # channels that the skip before each block brought in
        inputs = (_ENCODER[-1], *(d + s for d, s in zip(_DECODER[:-1], skips[1:], strict=True)))
        self.up_blocks = nn.ModuleList(_ConvNormReLU3d(*pair) for pair in zip(inputs, _DECODER, strict=True))
        self.conv = nn.Conv3d(_DECODER[-1] + channels, _DECODER[-1] + channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(_DECODER[-1] + channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        *skips, x = maps
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = torch.cat([block(F.interpolate(x, scale_factor=(1, 2, 2), mode="nearest")), skip], dim=1)
        return F.relu(self.norm(self.conv(x)))


class _ConvNormReLU3d(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class _ConvNormLeaky(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.01)
