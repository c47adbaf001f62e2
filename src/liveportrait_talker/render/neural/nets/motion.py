"""M, the motion extractor, a ConvNeXt V2 (tiny): face image → keypoints, expression, pose.

See docs/method/liveportrait.md, Motion.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (96, 192, 384, 768)
_BLOCKS = (3, 3, 9, 3)
_HEADS = {"kp": 63, "exp": 63, "scale": 1, "t": 3, "pitch": 66, "yaw": 66, "roll": 66}
_EPS = 1e-6  # of every LayerNorm and of GRN


class MotionExtractor(nn.Module):
    """RGB (B, 3, 256, 256) in 0…1 → the raw heads.

    Returns a dict: kp, exp (B, 63) point-major x, y, z; scale (B, 1); t (B, 3); pitch, yaw, roll (B, 66) logits of
    3° bins. `keypoints.FaceMotion.from_heads` decodes them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.detector = _ConvNeXt()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw heads by name."""
        heads: dict[str, Tensor] = self.detector(image)
        return heads


class _ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, _WIDTHS[0], 4, stride=4), _ChannelNorm(_WIDTHS[0]))
        self.downsample_layers = nn.ModuleList([stem])
        for before, after in pairwise(_WIDTHS):
            halve = nn.Conv2d(before, after, 2, stride=2)
            self.downsample_layers.append(nn.Sequential(_ChannelNorm(before), halve))
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(count))) for width, count in zip(_WIDTHS, _BLOCKS, strict=True)
        )
        self.norm = nn.LayerNorm(_WIDTHS[-1], eps=_EPS)
        for name, size in _HEADS.items():
            setattr(self, f"fc_{name}", nn.Linear(_WIDTHS[-1], size))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for shrink, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(shrink(x))
        embedding = self.norm(x.mean(dim=(2, 3)))  # (B, 768)
        return {name: getattr(self, f"fc_{name}")(embedding) for name in _HEADS}


class _ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _Block(nn.Module):
    """Residual block: depthwise 7×7 convolution, LayerNorm, linear, GELU, global response normalisation, linear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = _GlobalResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).movedim(1, -1))  # (B, H, W, C) from here
        y = self.pwconv2(self.grn(F.gelu(self.pwconv1(y))))
        total: Tensor = x + y.movedim(-1, 1)
        return total


class _GlobalResponseNorm(nn.Module):
    """Scale each channel of (B, H, W, C) by its L2 norm over the image, relative to the mean over channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        energy = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        relative = energy / (energy.mean(dim=-1, keepdim=True) + _EPS)
        gated: Tensor = self.gamma * (x * relative) + self.beta + x
        return gated
