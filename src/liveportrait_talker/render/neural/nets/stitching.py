"""S, R_eye and R_lip, the MLPs for stitching and retargeting (docs/method/liveportrait.md, Stitching)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class PointMLP(nn.Module):
    """(B, n) → (B, m): linear layers `mlp.0`, `mlp.2`, … of the given widths, ReLU between, none after the last."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Return offsets (B, m)."""
        y: Tensor = self.mlp(x)
        return y


def stitching() -> PointMLP:
    """Build S: x_s 63, x_d 63 → 63 offsets of the keypoints, then a common dx, dy."""
    return PointMLP(126, 128, 128, 64, 65)


def retarget_lip() -> PointMLP:
    """Build R_lip: x_s 63, lip ratios of source and target → 63 offsets."""
    return PointMLP(65, 128, 128, 64, 63)


def retarget_eye() -> PointMLP:
    """Build R_eye: x_s 63, eye ratios of source left, source right and target → 63 offsets."""
    return PointMLP(66, 256, 256, 128, 128, 64, 63)
