"""F, the appearance feature extractor: face image → feature volume (docs/method/liveportrait.md, Appearance)."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

DEPTH = 16
"""Cells of the feature volume along z."""


class AppearanceFeatureExtractor(nn.Module):
    """RGB (B, 3, 256, 256) in 0…1 → feature volume (B, 32, 16, 64, 64): channel, depth, height, width; unbounded."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _ConvNormReLU(3, 64)
        self.down_blocks = nn.ModuleList([_DownBlock(64, 128), _DownBlock(128, 256)])
        self.second = nn.Conv2d(256, 512, 1)
        self.resblocks_3d = nn.Sequential(OrderedDict((f"3dr{i}", _ResBlock3d(32)) for i in range(6)))

    def forward(self, image: Tensor) -> Tensor:
        """Return the feature volume (B, 32, 16, 64, 64)."""
        x = self.first(image)
        for block in self.down_blocks:
            x = block(x)
        flat = self.second(x)  # (B, 512, 64, 64)
        volume: Tensor = self.resblocks_3d(flat.unflatten(1, (-1, DEPTH)))
        return volume


class _ConvNormReLU(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class _DownBlock(_ConvNormReLU):
    """Convolution, normalisation and ReLU, then 2×2 average pooling."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(x), 2)


class _ResBlock3d(nn.Module):
    """x + conv2(ReLU(norm2(conv1(ReLU(norm1(x)))))), without activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change = self.conv1(F.relu(self.norm1(x)))
        change = self.conv2(F.relu(self.norm2(change)))
        total: Tensor = x + change
        return total
