"""MappingNet: a window of 3DMM expressions → LivePortrait's lip keypoints (after PIRenderer, arXiv 2109.08379).

Source: docs/method/sadtalker.md, MappingNet.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

REACH = 25
"""Receptive field in rows before the mean over time: a kernel of 7 and three dilated ones of 6 more each."""


class MappingNet(nn.Module):
    """Coefficient windows (N, 64, L ≥ 25) → offsets (N, 18) of keypoints 6, 12, 14, 17, 19, 20; x, y, z each.

    The offsets are expression deformations, in canonical units before the scale.
    """

    def __init__(self, coefficients: int = 64, width: int = 1024, keypoints: int = 6) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(coefficients, width, 7))
        self.encoder0 = _encoder(width)
        self.encoder1 = _encoder(width)
        self.encoder2 = _encoder(width)
        self.fc_exp = nn.Linear(width, keypoints * 3)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the offsets (N, 18) of the middle frame of each window."""
        offsets: Tensor = self.fc_exp(self._encode(windows).mean(dim=2))
        return offsets

    def along(self, coefficients: Tensor, rows: int) -> Tensor:
        """Return `forward` of all T windows of consecutive coefficients (N, 64, T + rows − 1): offsets (N, T, 18).

        No layer pads, so the rows that neighbouring windows share are computed once: for 29 rows, an eleventh of the
        operations.
        """
        means = F.avg_pool1d(self._encode(coefficients), rows - REACH + 1, stride=1)  # (N, 1024, T)
        offsets: Tensor = self.fc_exp(means.transpose(1, 2))
        return offsets

    def _encode(self, x: Tensor) -> Tensor:
        """Return features (N, 1024, L − 24) of coefficients (N, 64, L)."""
        x = self.first(x)
        for encoder in (self.encoder0, self.encoder1, self.encoder2):
            x = encoder(x) + x[:, :, 3:-3]
        return x


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LeakyReLU(0.1), nn.Conv1d(width, width, 3, dilation=3))
