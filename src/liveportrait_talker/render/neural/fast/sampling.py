"""A volume sampled where a deformation says, laid out for the convolution that follows."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....system.jit import kernel
from .convolution import LAST
from .threads import in_pieces


def sampled(volume: Tensor, deformation: Tensor) -> Tensor:
    """Of a volume (B, C, D, H, W) at x, y, z in −1…1 (B, D, H, W, 3): (B, D·C, H, W), channels last; float32.

    As `F.grid_sample`: linear, with zeros beyond the rim, ±1 being the edges of the outermost cells.
    """
    seen = F.grid_sample(volume, deformation, padding_mode="zeros", align_corners=False)
    return seen.transpose(1, 2).flatten(1, 2).contiguous(memory_format=LAST)


def sampled_by_cells(volume: Tensor, deformation: Tensor) -> Tensor:
    """The same on a processor, where the channels of a cell are read together: ten times as fast."""
    cells = volume.permute(0, 2, 3, 4, 1).contiguous().numpy()
    at = deformation.contiguous().numpy()
    count, depth, height, width, channels = cells.shape
    assert at.shape == (count, depth, height, width, 3)
    out = torch.empty((count, height, width, depth * channels))
    into = out.view(count, height, width, depth, channels).numpy()
    in_pieces(lambda low, high: _sample(cells, at, into, low, high), count * depth * height)
    return out.permute(0, 3, 1, 2)


@kernel
def _sample(cells, at, out, first, last):  # type: ignore[no-untyped-def]
    """Of the rows of all slices of all volumes, counted on, those from `first` to `last`."""
    _, depth, height, width, channels = cells.shape
    sums = np.zeros(channels, np.float32)
    for row in range(first, last):
        k, z, y = row // (depth * height), row // height % depth, row % height
        for x in range(width):
            place = at[k, z, y, x]
            fx = ((place[0] + np.float32(1)) * width - np.float32(1)) * np.float32(0.5)
            fy = ((place[1] + np.float32(1)) * height - np.float32(1)) * np.float32(0.5)
            fz = ((place[2] + np.float32(1)) * depth - np.float32(1)) * np.float32(0.5)
            # Before they are whole numbers: what lies farther out is no number that fits.
            x0 = int(np.floor(min(max(fx, np.float32(-2)), np.float32(width))))
            y0 = int(np.floor(min(max(fy, np.float32(-2)), np.float32(height))))
            z0 = int(np.floor(min(max(fz, np.float32(-2)), np.float32(depth))))
            sums[:] = 0
            for corner in range(8):
                cx, cy, cz = x0 + (corner & 1), y0 + (corner >> 1 & 1), z0 + (corner >> 2)
                if 0 <= cx < width and 0 <= cy < height and 0 <= cz < depth:
                    share = (
                        (np.float32(1) - abs(fx - np.float32(cx)))
                        * (np.float32(1) - abs(fy - np.float32(cy)))
                        * (np.float32(1) - abs(fz - np.float32(cz)))
                    )
                    seen = cells[k, cz, cy, cx]
                    for c in range(channels):
                        sums[c] += share * seen[c]
            there = out[k, y, x, z]
            for c in range(channels):
                there[c] = sums[c]
