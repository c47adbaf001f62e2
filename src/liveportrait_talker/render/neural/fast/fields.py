"""What the dense motion network looks at: for the background and each key point, the volume moved as it moves.

The moved volumes are translations, so that sampling is linear along one axis after the other, and a Gaussian in three
dimensions is a product of three.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....system.jit import kernel
from .bits import FORMATS, bits, narrow
from .convolution import MULTIPLE
from .threads import in_pieces

_HEAT_VARIANCE = 0.01


def motion_fields(volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype: torch.dtype) -> Tensor:
    """Volumes (B, C, D, H, W), points (B, K, 3) → (B·D, (K + 1)·(1 + C) or a little more, H, W), channels last.

    For each field its heat map, driving minus source, and the moved volume; the background first; zeros at the end.
    """
    batch, size = len(volume), volume.shape[2:]
    fields = F.pad(kp_source - kp_driving, (0, 0, 1, 0))  # (B, K + 1, 3)
    heat = _heat_maps(size, kp_driving) - _heat_maps(size, kp_source)  # (B, K, D, H, W)
    heat = F.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None]
    seen = torch.cat([heat, translated(volume, fields)], dim=2).permute(0, 3, 4, 5, 1, 2).flatten(4).to(dtype)
    return F.pad(seen, (0, -seen.shape[-1] % MULTIPLE)).view(batch * size[0], *size[1:], -1).permute(0, 3, 1, 2)


def motion_fields_in_one_pass(volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype: torch.dtype) -> Tensor:
    """The same on a processor."""
    batch, channels, *size = volume.shape
    assert len(kp_source) == len(kp_driving) == batch
    fields = F.pad(kp_source - kp_driving, (0, 0, 1, 0))
    width = fields.shape[1] * (1 + channels)
    planes = torch.empty((batch * size[0], *size[1:], width + -width % MULTIPLE), dtype=dtype)
    out = planes.permute(0, 3, 1, 2)
    cells = volume.permute(0, 2, 3, 4, 1).contiguous().numpy()
    at = [places.numpy() for places in _by_axis(_places, size, fields)]
    heat = [
        F.pad(gaussians, (0, 0, 1, 0)).numpy()  # none about the background
        for points in (kp_driving, kp_source)
        for gaussians in _by_axis(_gaussians, size, points)
    ]
    seen = bits(out)

    def work(low: int, high: int) -> None:
        _fill(cells, *at, *heat, seen, low, high, *FORMATS[dtype])

    in_pieces(work, batch * size[0] * size[1])
    return out


def translated(volume: Tensor, shifts: Tensor) -> Tensor:
    """(B, K, C, D, H, W): `volume` (B, C, D, H, W) sampled at the coordinate grid plus each of `shifts` (B, K, 3)."""
    deep, high, wide = _by_axis(_interpolation, volume.shape[2:], shifts)
    moved = torch.einsum("bcdhw,bkxw->bkcdhx", volume, wide)
    moved = torch.einsum("bkyh,bkcdhx->bkcdyx", high, moved)
    return torch.einsum("bkzd,bkcdyx->bkczyx", deep, moved)


def _by_axis(make: Callable[[int, Tensor], Tensor], size: Sequence[int], points: Tensor) -> list[Tensor]:
    """What is made of a length and the coordinates along it, for the axes D, H and W; `points` hold x, y, z."""
    return [make(length, points[..., axis]) for axis, length in zip((2, 1, 0), size, strict=True)]


def _interpolation(length: int, shift: Tensor) -> Tensor:
    """Matrices (B, K, n, n) that sample n cells linearly at the grid plus `shift` (B, K); zeros beyond the ends."""
    cells = torch.arange(length, dtype=shift.dtype, device=shift.device)
    return (1 - (_places(length, shift)[..., None] - cells).abs()).clamp(min=0)


def _places(length: int, shift: Tensor) -> Tensor:
    """Where (B, K, n), in cells, the grid plus `shift` (B, K) lies.

    The grid has ±1 at the centres of the outermost cells and is read with ±1 at their edges, as the reference does.
    """
    grid = torch.linspace(-1, 1, length, dtype=shift.dtype, device=shift.device) + shift[..., None]
    return ((grid + 1) * length - 1) / 2


def _heat_maps(size: torch.Size, points: Tensor) -> Tensor:
    """A Gaussian (B, K, D, H, W) about each of `points` (B, K, 3), 1 at its centre."""
    deep, high, wide = _by_axis(_gaussians, size, points)
    return deep[..., :, None, None] * high[..., None, :, None] * wide[..., None, None, :]


def _gaussians(length: int, centres: Tensor) -> Tensor:
    """Along one axis: (B, K, n)."""
    grid = torch.linspace(-1, 1, length, dtype=centres.dtype, device=centres.device)
    return torch.exp(-0.5 * (grid - centres[..., None]).square() / _HEAT_VARIANCE)


@kernel
def _fill(  # type: ignore[no-untyped-def]
    cells, at_z, at_y, at_x, new_z, new_y, new_x, old_z, old_y, old_x, out, first, last, shift, half, odd
):
    """Of the rows of all slices of all volumes, counted on, those from `first` to `last`."""
    _, depth, height, width, channels = cells.shape
    fields, zero, one = at_z.shape[1], np.float32(0), np.float32(1)
    wide = np.zeros((width, out.shape[3]), np.uint32)
    row = wide.view(np.float32)
    line = np.zeros((width, channels), np.float32)
    for number in range(first, last):
        k, z, y = number // (depth * height), number // height % depth, number % height
        for f in range(fields):
            column = f * (1 + channels)
            new, old = new_z[k, f, z] * new_y[k, f, y], old_z[k, f, z] * old_y[k, f, y]
            for x in range(width):
                row[x, column] = new * new_x[k, f, x] - old * old_x[k, f, x]
            fz = min(max(at_z[k, f, z], np.float32(-2)), np.float32(depth))
            fy = min(max(at_y[k, f, y], np.float32(-2)), np.float32(height))
            z0, y0 = int(np.floor(fz)), int(np.floor(fy))
            line[:] = 0  # the cells of a row, moved up and down, not yet to the side
            for corner in range(4):
                cy, cz = y0 + (corner & 1), z0 + (corner >> 1)
                if 0 <= cy < height and 0 <= cz < depth:
                    share = (one - abs(fy - np.float32(cy))) * (one - abs(fz - np.float32(cz)))
                    seen = cells[k, cz, cy]
                    for x in range(width):
                        for c in range(channels):
                            line[x, c] += share * seen[x, c]
            for x in range(width):
                fx = min(max(at_x[k, f, x], np.float32(-2)), np.float32(width))
                x0 = int(np.floor(fx))
                right = fx - np.float32(x0)
                left = one - right if 0 <= x0 < width else zero
                right = right if 0 <= x0 + 1 < width else zero
                a, b = min(max(x0, 0), width - 1), min(max(x0 + 1, 0), width - 1)
                for c in range(channels):
                    row[x, column + 1 + c] = left * line[a, c] + right * line[b, c]
        there = out[k * depth + z, y]
        for x in range(width):
            narrow(wide[x], there[x], shift, half, odd)
