"""FaceRecon, the 3DMM regressor (arXiv 1903.08527): a ResNet-50 with seven heads.

Source: docs/method/sadtalker.md, Regressor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HEADS = (80, 64, 80, 3, 27, 2, 1)  # shape, expression, texture, angle, light, shift x y, shift z
EXPRESSION = slice(80, 144)
"""64 expression coefficients."""
ANGLE = slice(224, 227)
"""Pitch, yaw, roll in radians, of the morphable model's camera."""
TRANSLATION = slice(254, 257)
"""x, y, z in the morphable model's units."""


class FaceRecon(nn.Module):
    """RGB (B, 3, 224, 224) in 0…1, aligned by `face.alignment` → coefficients (B, 257)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _ResNet50()
        self.final_layers = nn.ModuleList(nn.Conv2d(2048, size, 1) for size in _HEADS)

    def forward(self, image: Tensor) -> Tensor:
        """Return coefficients (B, 257); the slices of this module select parts."""
        features = self.backbone(image)  # (B, 2048, 1, 1)
        return torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1)


def motion_coefficients(coefficients: Tensor) -> Tensor:
    """Return the motion coefficients (B, 70) of (B, 257): expression 64, angle 3, translation 3."""
    return torch.cat([coefficients[:, part] for part in (EXPRESSION, ANGLE, TRANSLATION)], dim=1)


class _ResNet50(nn.Module):
    """(B, 3, 224, 224) → (B, 2048, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, blocks=3, stride=1)
        self.layer2 = _stage(256, 128, blocks=4, stride=2)
        self.layer3 = _stage(512, 256, blocks=6, stride=2)
        self.layer4 = _stage(1024, 512, blocks=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3), keepdim=True)


def _stage(channels_in: int, channels: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = _Bottleneck(channels_in, channels, stride=stride)
    return nn.Sequential(first, *(_Bottleneck(4 * channels, channels) for _ in range(blocks - 1)))


class _Bottleneck(nn.Module):
    """Convolutions 1×1, 3×3 (with the stride) and 1×1 to four times the channels, plus the input."""

    def __init__(self, channels_in: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.downsample: nn.Module = nn.Identity()
        if channels_in != 4 * channels:
            shortcut = nn.Conv2d(channels_in, 4 * channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))
