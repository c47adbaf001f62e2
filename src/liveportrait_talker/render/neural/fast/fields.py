"""Input of the dense motion network: sampled volumes and heat maps of the background and each keypoint.

The sampled volumes are translations, so that sampling is linear along one axis after the other, and a 3-D Gaussian is
a product of three 1-D ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....system.jit import kernel
from ..nets.warping import HEAT_VARIANCE
from .bf16_views import FORMATS, integer_view, narrow
from .convolution import CHANNEL_MULTIPLE
from .threads import run_in_threads


def motion_fields(volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the input (B·D, (K + 1)·(1 + C), H, W) of the hourglass, channels last, zero-padded to a multiple of 8.

    For the background and each keypoint: its heat map, driving minus source, and the sampled volume.

    Args:
        volume: (B, C, D, H, W).
        kp_source: (B, K, 3).
        kp_driving: (B, K, 3).
        dtype: of the output.
    """
    batch, size = len(volume), volume.shape[2:]
    fields = F.pad(kp_source - kp_driving, (0, 0, 1, 0))  # (B, K + 1, 3)
    heat = _heat_maps(size, kp_driving) - _heat_maps(size, kp_source)  # (B, K, D, H, W)
    heat = F.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None]
    maps = torch.cat([heat, translate_volume(volume, fields)], dim=2).permute(0, 3, 4, 5, 1, 2).flatten(4).to(dtype)
    return F.pad(maps, (0, -maps.shape[-1] % CHANNEL_MULTIPLE)).view(batch * size[0], *size[1:], -1).permute(0, 3, 1, 2)


def motion_fields_numba(volume: Tensor, kp_source: Tensor, kp_driving: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute `motion_fields` on the CPU in one pass."""
    batch, channels, *size = volume.shape
    assert len(kp_source) == len(kp_driving) == batch
    fields = F.pad(kp_source - kp_driving, (0, 0, 1, 0))
    width = fields.shape[1] * (1 + channels)
    planes = torch.empty((batch * size[0], *size[1:], width + -width % CHANNEL_MULTIPLE), dtype=dtype)
    out = planes.permute(0, 3, 1, 2)
    cells = volume.permute(0, 2, 3, 4, 1).contiguous().numpy()
    positions = tuple(axis.numpy() for axis in _by_axis(_sample_positions, size, fields))
    driving, source = (  # the background, first, has no heat map
        tuple(F.pad(axis, (0, 0, 1, 0)).numpy() for axis in _by_axis(_gaussians, size, points))
        for points in (kp_driving, kp_source)
    )
    view = integer_view(out)

    def work(low: int, high: int) -> None:
        _fill(cells, positions, driving, source, view, low, high, tuple(FORMATS[dtype]))

    run_in_threads(work, batch * size[0] * size[1])
    return out


def translate_volume(volume: Tensor, shifts: Tensor) -> Tensor:
    """Sample `volume` (B, C, D, H, W) at the coordinate grid plus each of `shifts` (B, K, 3): (B, K, C, D, H, W)."""
    deep, high, wide = _by_axis(_interpolation, volume.shape[2:], shifts)
    moved = torch.einsum("bcdhw,bkxw->bkcdhx", volume, wide)
    moved = torch.einsum("bkyh,bkcdhx->bkcdyx", high, moved)
    return torch.einsum("bkzd,bkcdyx->bkczyx", deep, moved)


def _by_axis(make: Callable[[int, Tensor], Tensor], size: Sequence[int], points: Tensor) -> list[Tensor]:
    """Return `make(length, coordinates)` for the axes D, H and W; `points` (…, 3) are x, y, z."""
    return [make(length, points[..., axis]) for axis, length in zip((2, 1, 0), size, strict=True)]


def _interpolation(length: int, shift: Tensor) -> Tensor:
    """Return matrices (B, K, n, n) that sample n cells linearly at the grid plus `shift` (B, K); zeros outside."""
    cells = torch.arange(length, dtype=shift.dtype, device=shift.device)
    return (1 - (_sample_positions(length, shift)[..., None] - cells).abs()).clamp(min=0)


def _sample_positions(length: int, shift: Tensor) -> Tensor:
    """Return positions (B, K, n) of the grid plus `shift` (B, K), in cells.

    The grid has ±1 at the centres of the outermost cells but is sampled with ±1 at their edges, as in the reference.
    """
    grid = torch.linspace(-1, 1, length, dtype=shift.dtype, device=shift.device) + shift[..., None]
    return ((grid + 1) * length - 1) / 2


def _heat_maps(size: torch.Size, points: Tensor) -> Tensor:
    """Return Gaussians (B, K, D, H, W) around `points` (B, K, 3), 1 at their centres."""
    deep, high, wide = _by_axis(_gaussians, size, points)
    return deep[..., :, None, None] * high[..., None, :, None] * wide[..., None, None, :]


def _gaussians(length: int, centres: Tensor) -> Tensor:
    """Return the factors (B, K, n) of the Gaussians along one axis."""
    grid = torch.linspace(-1, 1, length, dtype=centres.dtype, device=centres.device)
    return torch.exp(-0.5 * (grid - centres[..., None]).square() / HEAT_VARIANCE)


@kernel
def _fill(cells, positions, driving, source, out, first, last, bit_format):  # type: ignore[no-untyped-def]
    """Fill rows `first` … `last` of all rows of all slices of all volumes."""
    shift, half, odd = bit_format
    (at_z, at_y, at_x), (new_z, new_y, new_x), (old_z, old_y, old_x) = positions, driving, source
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
            line[:] = 0  # the row interpolated along z and y, not yet along x
            for corner in range(4):
                cy, cz = y0 + (corner & 1), z0 + (corner >> 1)
                if 0 <= cy < height and 0 <= cz < depth:
                    share = (one - abs(fy - np.float32(cy))) * (one - abs(fz - np.float32(cz)))
                    source_row = cells[k, cz, cy]
                    for x in range(width):
                        for c in range(channels):
                            line[x, c] += share * source_row[x, c]
            for x in range(width):
                fx = min(max(at_x[k, f, x], np.float32(-2)), np.float32(width))
                x0 = int(np.floor(fx))
                right = fx - np.float32(x0)
                left = one - right if 0 <= x0 < width else zero
                right = right if 0 <= x0 + 1 < width else zero
                a, b = min(max(x0, 0), width - 1), min(max(x0 + 1, 0), width - 1)
                for c in range(channels):
                    row[x, column + 1 + c] = left * line[a, c] + right * line[b, c]
        target = out[k * depth + z, y]
        for x in range(width):
            narrow(wide[x], target[x], shift, half, odd)
