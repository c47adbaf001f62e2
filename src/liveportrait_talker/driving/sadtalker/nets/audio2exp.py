"""Audio2Exp, SadTalker's expression network (arXiv 2211.12194).

Source: docs/method/sadtalker.md, Audio2exp.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EMBEDDING = 512
EXPRESSION = 64


class Audio2Exp(nn.Module):
    """Mel windows (N, 1, 80, 16), source expression (N, 64), blink ratio (N, 1) → expression (N, 64).

    Frames are independent of each other, so a voice can be processed in parts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = audio_layers()
        self.mapping1 = nn.Linear(EMBEDDING + EXPRESSION + 1, EXPRESSION)

    def forward(self, mels: Tensor, source_exp: Tensor, blink: Tensor) -> Tensor:
        """Return the expression (N, 64) for each window."""
        embedding = self.audio_encoder(mels).flatten(1)  # (N, 512)
        expression: Tensor = self.mapping1(torch.cat([embedding, source_exp, blink], dim=1))
        return expression


class _Layer(NamedTuple):
    channels: int
    kernel: int = 3
    stride: int | tuple[int, int] = 1
    padding: int = 1
    residual: bool = False


_LAYERS = (
    _Layer(32),  # 80×16: mel bands × rows
    _Layer(32, residual=True),
    _Layer(32, residual=True),
    _Layer(64, stride=(3, 1)),  # 27×16
    _Layer(64, residual=True),
    _Layer(64, residual=True),
    _Layer(128, stride=3),  # 9×6
    _Layer(128, residual=True),
    _Layer(128, residual=True),
    _Layer(256, stride=(3, 2)),  # 3×3
    _Layer(256, residual=True),
    _Layer(512, padding=0),  # 1×1
    _Layer(512, kernel=1, padding=0),
)


def audio_layers() -> nn.Sequential:
    """Return the layers (N, 1, 80, 16) → (N, 512, 1, 1) that the expression and the pose network have in common."""
    widths = (1, *(layer.channels for layer in _LAYERS))
    return nn.Sequential(*(_ConvBlock(before, layer) for before, layer in zip(widths, _LAYERS, strict=False)))


class _ConvBlock(nn.Module):
    """Convolution, batch normalisation, optionally plus the input, ReLU."""

    def __init__(self, channels_in: int, layer: _Layer) -> None:
        super().__init__()
        conv = nn.Conv2d(channels_in, layer.channels, layer.kernel, layer.stride, layer.padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(layer.channels))
        self.residual = layer.residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y)
