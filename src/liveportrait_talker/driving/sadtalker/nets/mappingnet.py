"""The MappingNet: a window of 3DMM expressions → LivePortrait's lip key points (spec talker.md §8)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

REACH = 25
"""Rows that one output sees before the mean over time: the kernel of 7, and three dilated ones of reach 6."""


class MappingNet(nn.Module):
    """Coefficient windows (N, 64, L ≥ 25) → offsets (N, 18) of key points 6, 12, 14, 17, 19, 20, x, y, z each.

    The offsets are in the space of the motion extractor's `exp`, before the scale.
    """

    def __init__(self, coefficients: int = 64, width: int = 1024, keypoints: int = 6) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(coefficients, width, 7))
        self.encoder0 = _encoder(width)
        self.encoder1 = _encoder(width)
        self.encoder2 = _encoder(width)
        self.fc_exp = nn.Linear(width, keypoints * 3)

    def forward(self, windows: Tensor) -> Tensor:
        """Offsets (N, 18) of the frame in the middle of each window."""
        offsets: Tensor = self.fc_exp(self._seen(windows).mean(dim=2))
        return offsets

    def along(self, coefficients: Tensor, rows: int) -> Tensor:
        """Offsets (N, T, 18) from runs of coefficients (N, 64, T + rows − 1): `forward` on each of their T windows.

        Neighbouring windows share all but one row, and no layer pads, so that what they have in common is calculated
        once: an eleventh of the operations for long runs of 29 rows.
        """
        means = F.avg_pool1d(self._seen(coefficients), rows - REACH + 1, stride=1)  # (N, 1024, T)
        offsets: Tensor = self.fc_exp(means.transpose(1, 2))
        return offsets

    def _seen(self, x: Tensor) -> Tensor:
        """(N, 1024, L − 24) of (N, 64, L)."""
        x = self.first(x)
        for encoder in (self.encoder0, self.encoder1, self.encoder2):
            x = encoder(x) + x[:, :, 3:-3]
        return x


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LeakyReLU(0.1), nn.Conv1d(width, width, 3, dilation=3))
