"""W, the warping network: source → driving keypoints on a feature volume (docs/method/liveportrait.md, Warping).

Grids hold x, y, z in −1…1 with the centres of the first and last cells at ±1, but are sampled with
`align_corners=False`. The networks were trained with this mismatch of half a cell.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEYPOINTS = 21
_FIELDS = KEYPOINTS + 1  # one more for the static background
_COMPRESSED = 4  # channels of the volume in the dense motion network
HEAT_VARIANCE = 0.01
_ENCODER = (64, 128, 256, 512, 1024)
_DECODER = (512, 256, 128, 64, 32)


class WarpingNetwork(nn.Module):
    """Feature volume (B, 32, 16, 64, 64), keypoints (B, 21, 3) → input of the generator.

    Returns a dict: `out` (B, 256, 64, 64); `occlusion_map` (B, 1, 64, 64) in 0…1; `deformation` (B, 16, 64, 64, 3), the
    position in the source that each cell is read from, x, y, z in −1…1. Coordinates keep the dtype of the keypoints,
    features that of the volume.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = _DenseMotion()
        self.third = _ConvNormLeaky(512, 256)
        self.fourth = nn.Conv2d(256, 256, 1)

    def forward(self, feature_3d: Tensor, *, kp_source: Tensor, kp_driving: Tensor) -> dict[str, Tensor]:
        """Return warped features, occlusion map and deformation by name."""
        deformation, occlusion_map = self.dense_motion_network(feature_3d, kp_source, kp_driving)
        warped = _sample(feature_3d, deformation).flatten(1, 2)  # (B, 512, 64, 64)
        out = self.fourth(self.third(warped)) * occlusion_map
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
        """Return deformation (B, D, H, W, 3) and occlusion map (B, 1, H, W)."""
        volume = F.relu(self.norm(self.compress(feature_3d)))  # (B, 4, D, H, W)
        grid = coordinate_grid(volume.shape[2:], like=kp_driving)
        fields = _sparse_motions(grid, kp_source, kp_driving)  # (B, 22, D, H, W, 3)
        copies = volume[:, None].expand(-1, _FIELDS, -1, -1, -1, -1)
        sampled = _sample(copies.flatten(0, 1), fields.flatten(0, 1)).view_as(copies)  # (B, 22, 4, D, H, W)
        heat = (_heat_maps(grid, kp_driving) - _heat_maps(grid, kp_source)).to(volume.dtype)
        groups = torch.cat([F.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None], sampled], dim=2)  # (B, 22, 5, D, H, W)

        h = self.hourglass(groups.flatten(1, 2))  # (B, 142, D, H, W)
        mask = self.mask(h).softmax(dim=1)
        deformation = torch.einsum("bkdhw,bkdhwc->bdhwc", mask.to(fields.dtype), fields)
        occlusion = torch.sigmoid(self.occlusion(h.flatten(1, 2)))
        return deformation, occlusion


def coordinate_grid(shape: tuple[int, ...] | torch.Size, *, like: Tensor) -> Tensor:
    """Return a grid (D, H, W, 3) of x, y, z in −1…1, ±1 at the centres of the outermost cells."""
    z, y, x = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in shape)
    grid_z, grid_y, grid_x = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([grid_x, grid_y, grid_z], dim=-1)


def _sparse_motions(grid: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
    """Return fields (B, 22, D, H, W, 3): the static background, then one translation for each keypoint."""
    shifts = F.pad(kp_source - kp_driving, (0, 0, 1, 0))  # (B, 22, 3)
    return grid + shifts[:, :, None, None, None]


def _heat_maps(grid: Tensor, points: Tensor) -> Tensor:
    """Return Gaussians (B, 21, D, H, W) around `points` (B, 21, 3), 1 at their centres."""
    distance2 = (grid - points[:, :, None, None, None]).square().sum(dim=-1)
    return torch.exp(-0.5 * distance2 / HEAT_VARIANCE)


def _sample(volume: Tensor, grid: Tensor) -> Tensor:
    """Sample `volume` (N, C, D, H, W) trilinearly at `grid` (N, D, H, W, 3), zero outside."""
    # In the more precise of the two dtypes, because half precision has too few digits for a coordinate.
    dtype = torch.promote_types(volume.dtype, grid.dtype)
    sampled = F.grid_sample(volume.to(dtype), grid.to(dtype), padding_mode="zeros", align_corners=False)
    return sampled.to(volume.dtype)


class Hourglass(nn.Module):
    """U-Net (B, C, 16, 64, 64) → (B, C + 32, 16, 64, 64) over height and width; depth stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder = _Encoder(channels)
        self.decoder = _Decoder(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, C + 32, D, H, W)."""
        h: Tensor = self.decoder(self.encoder(x))
        return h


class _Encoder(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, *_ENCODER)
        self.down_blocks = nn.ModuleList(_ConvNormReLU3d(*pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the input and the output of each block, the smallest last."""
        maps = [x]
        for block in self.down_blocks:
            maps.append(_halve(block(maps[-1])))
        return maps


def _halve(x: Tensor) -> Tensor:
    """Halve height and width of (B, C, D, H, W) in 2-D, because 3-D pooling does not support bfloat16 on CPUs."""
    height, width = x.shape[-2:]
    return F.avg_pool2d(x.flatten(1, 2), 2).view(*x.shape[:3], height // 2, width // 2)


class _Decoder(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        skips = (0, *_ENCODER[-2::-1])  # channels of the skip connection before each block
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
