"""The MappingNet: a window of 3DMM expressions → LivePortrait's lip key points (spec talker.md §8)."""

from __future__ import annotations

from torch import Tensor, nn


class MappingNet(nn.Module):
    """Coefficient windows (N, 64, L ≥ 25) → offsets (N, 18) of key points 6, 12, 14, 17, 19, 20, x, y, z each.

    The offsets are in the space of the motion extractor's `exp`, before the scale. Of 25 rows the kernel of 7 and three
    dilated ones of reach 6 leave one.
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
        x = self.first(windows)
        for encoder in (self.encoder0, self.encoder1, self.encoder2):
            x = encoder(x) + x[:, :, 3:-3]
        offsets: Tensor = self.fc_exp(x.mean(dim=2))
        return offsets


def _encoder(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LeakyReLU(0.1), nn.Conv1d(width, width, 3, dilation=3))
