"""3×3 convolutions on processors in a quarter of the multiplications: Winograd's minimal filtering F(4×4, 3×3).

Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016): of each tile of 6×6 pixels, 36 values are
made that are multiplied by 36 values made of the kernel; 4×4 pixels come of the products. Over tiles and channels the
products are 36 matrix products. The values are those of polynomials at 0, ±√2, ±1/√2 and ∞, with which float32 rounds
about as well as in the plain sum; half precision would lose too much.

The transforms are compiled by Numba and run in threads of our own, a few rows of tiles at a time, so that what lies
between them stays in the processor's cache.
"""

from __future__ import annotations

import threading
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....arrays import Floats32
from ....system.jit import inlined, kernel
from .threads import in_pieces

_POINTS = (0.0, 2**0.5, -(2**0.5), 0.5**0.5, -(0.5**0.5))
_SIDE, _STEP = 6, 4  # of a tile, and from one to the next
_VALUES = _SIDE**2
_CHANNELS = 64  # that are transformed at once: 36 times as many values lie in the first cache
_SCRATCH = 16 * 2**20  # bytes between the two transforms: they should lie in the last cache
_MULTIPLE = 16  # of channels in a matrix product: with rows that begin anywhere it is a third slower
_LEAST = 30  # of I·O/(I + O): with fewer channels the transforms cost more than they save (docs/performance.md)


def pays(inputs: int, outputs: int) -> bool:
    """Is the convolution of so many channels faster this way?"""
    return inputs * outputs >= _LEAST * (inputs + outputs)


def _matrices() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Tile → values (6, 6), kernel → values (6, 3), products → pixels (4, 6), each for one axis (Toom and Cook)."""
    points = np.array(_POINTS)
    tile, weight, pixels = np.zeros((_SIDE, _SIDE)), np.zeros((_SIDE, 3)), np.zeros((_STEP, _SIDE))
    for k, point in enumerate(points):
        others = np.delete(points, k)
        tile[k, : _SIDE - 1] = np.poly(others)[::-1]
        weight[k] = point ** np.arange(3) / np.prod(point - others)
        pixels[:, k] = point ** np.arange(_STEP)
    tile[-1] = np.poly(points)[::-1]  # at infinity
    weight[-1, -1] = pixels[-1, -1] = 1
    return tile / 4, weight * 4, pixels  # all values of one size


_TILE, _KERNEL, _PIXELS = _matrices()
_B: Floats32 = _TILE.astype(np.float32)
_A: Floats32 = _PIXELS.astype(np.float32)


class WinogradConv(nn.Module):
    """`Conv` of a 3×3 kernel on float32: (N, I, H, W) → (N, O, H, W), channels last, zeros beyond the rim."""

    values: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> None:
        super().__init__()
        self.relu = relu
        self.register_buffer("values", kernel_values(weight))
        self.register_buffer("bias", weight.new_zeros(len(weight)) if bias is None else bias.float())

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """The sums, with what is to be added (and is of no use afterwards)."""
        seen, out = _planes(x), _like(x, len(self.bias))
        inputs, outputs = self.values.shape[1:]
        area = len(x) * _tiles(x.shape[3])
        for rows in _blocks(_tiles(x.shape[2]), area * (inputs + outputs)):
            tiles = len(rows) * area
            values, products = _scratch((tiles, inputs), (tiles, outputs))
            _into_values(seen, values, rows)
            torch.bmm(values, self.values, out=products)
            _out_of_products(products, out, self.bias, rows)
        sums = out.permute(0, 3, 1, 2)
        if plus is not None:
            sums += plus
        return F.relu_(sums) if self.relu else sums


class WinogradDepthConv(nn.Module):
    """A 3×3×3 kernel on float32 volumes (B·D, I, H, W) → (B·D, O, H, W): `WinogradConv` of three slices, summed."""

    values: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, depth: int, *, relu: bool = False) -> None:
        super().__init__()
        self.depth, self.relu = depth, relu
        self.register_buffer("values", torch.stack([kernel_values(taps) for taps in weight.unbind(2)]))
        self.register_buffer("bias", bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """The sums."""
        assert len(x) % self.depth == 0
        seen, out = _planes(x), _like(x, len(self.bias))
        inputs, outputs = self.values.shape[2:]
        wide = _tiles(x.shape[3])
        for rows in _blocks(_tiles(x.shape[2]), wide * ((self.depth + 2) * inputs + self.depth * outputs)):
            area = len(rows) * wide
            tiles = self.depth * area
            values, sums = _scratch((tiles + 2 * area, inputs), (tiles, outputs))
            values[:, :area] = values[:, -area:] = 0  # the slices beyond the ends
            for start in range(0, len(x), self.depth):
                volume = slice(start, start + self.depth)
                _into_values(seen[volume], values, rows, skipped=area)
                torch.bmm(values[:, :tiles], self.values[0], out=sums)
                for k in (1, 2):
                    sums.baddbmm_(values[:, k * area : k * area + tiles], self.values[k])
                _out_of_products(sums, out[volume], self.bias, rows)
        return F.relu_(out.permute(0, 3, 1, 2)) if self.relu else out.permute(0, 3, 1, 2)


def kernel_values(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) → the 36 values of each kernel (36, I, O) float32, zeros up to a multiple of channels."""
    both = torch.from_numpy(np.kron(_KERNEL, _KERNEL))  # (36, 9)
    outputs, inputs = weight.shape[:2]
    values = both @ weight.double().permute(2, 3, 1, 0).reshape(9, -1)
    return F.pad(values.float().view(_VALUES, inputs, outputs), (0, -outputs % _MULTIPLE, 0, -inputs % _MULTIPLE))


def _planes(x: Tensor) -> Floats32:
    """(N, C, H, W) → (N, H, W, C), a view where `x` lies channels last."""
    planes: Floats32 = x.permute(0, 2, 3, 1).contiguous().numpy()
    return planes


def _like(x: Tensor, outputs: int) -> Tensor:
    count, _, height, width = x.shape
    return x.new_empty(count, height, width, outputs)


def _tiles(length: int) -> int:
    return -(-length // _STEP)


def _blocks(rows: int, numbers: int) -> list[range]:
    """The rows of tiles, in blocks that the scratch memory holds; a row takes so many numbers for each value."""
    most = max(1, _SCRATCH // (4 * _VALUES * max(1, numbers)))
    count = -(-rows // most)
    return [range(rows * k // count, rows * (k + 1) // count) for k in range(count)]


_kept = threading.local()


def _scratch(*shapes: tuple[int, int]) -> list[Tensor]:
    """Room for 36 matrices of each shape, in memory that a thread keeps: new pages are slow."""
    sizes = [_VALUES * rows * columns for rows, columns in shapes]
    kept: Floats32 | None = getattr(_kept, "memory", None)
    if kept is None or len(kept) < sum(sizes):
        kept = _kept.memory = np.empty(sum(sizes), np.float32)
    ends = list(accumulate(sizes, initial=0))
    return [
        torch.from_numpy(kept[start:end]).view(_VALUES, *shape)
        for start, end, shape in zip(ends, ends[1:], shapes, strict=False)
    ]


def _into_values(seen: Floats32, values: Tensor, rows: range, skipped: int = 0) -> None:
    """Rows of tiles of all planes (N, H, W, I) → values (36, T, I), from the tile after those that are `skipped`."""
    values[..., seen.shape[-1] :] = 0  # they meet weights of zero, but 0 · NaN is NaN
    there, shape = values.view(-1).numpy(), (values.stride(0), values.stride(1))

    def work(low: int, high: int) -> None:
        _transform_tiles(seen, there, shape, skipped, rows.start, rows.stop, low, high, _B)

    in_pieces(work, len(seen) * len(rows))


def _out_of_products(products: Tensor, out: Tensor, bias: Tensor, rows: range) -> None:
    """Products as `_into_values` orders values → rows of tiles of all planes (N, H, W, O), plus `bias`."""
    there, shape = products.view(-1).numpy(), (products.stride(0), products.stride(1))
    seen, offset = out.numpy(), bias.numpy()

    def work(low: int, high: int) -> None:
        _transform_products(there, shape, seen, offset, rows.start, rows.stop, low, high, _A)

    in_pieces(work, len(out) * len(rows))


# A loop becomes vector instructions only where the compiler sees that what it reads and writes lies apart. So the sums
# are made between small buffers, at offsets that are constants, and what goes in and out of them is plainly copied.

_ROW = _SIDE * _CHANNELS  # numbers of one row of a tile


@inlined
def _six_values(B, x, y, step, count):  # type: ignore[no-untyped-def]
    """Six values (in `y`) of six pixels (in `x`), `step` apart; at ±√2 and at ±1/√2 they share two sums."""
    first0, first2, first4 = B[0, 0], B[0, 2], B[0, 4]
    large1, large2, large3, large4 = B[1, 1], B[1, 2], B[1, 3], B[1, 4]
    small1, small2, small3, small4 = B[3, 1], B[3, 2], B[3, 3], B[3, 4]
    last1, last3, last5 = B[5, 1], B[5, 3], B[5, 5]
    for c in range(count):
        d1, d2, d3, d4 = x[c + step], x[c + 2 * step], x[c + 3 * step], x[c + 4 * step]
        y[c] = first0 * x[c] + first2 * d2 + first4 * d4
        even, odd = large2 * d2 + large4 * d4, large1 * d1 + large3 * d3
        y[c + step] = even + odd
        y[c + 2 * step] = even - odd
        even, odd = small2 * d2 + small4 * d4, small1 * d1 + small3 * d3
        y[c + 3 * step] = even + odd
        y[c + 4 * step] = even - odd
        y[c + 5 * step] = last1 * d1 + last3 * d3 + last5 * x[c + 5 * step]


@inlined
def _four_pixels(A, x, y, step, count):  # type: ignore[no-untyped-def]
    """Four pixels (in `y`) of six products (in `x`), `step` apart."""
    large1, large2, large3 = A[1, 1], A[2, 1], A[3, 1]
    small1, small2, small3 = A[1, 3], A[2, 3], A[3, 3]
    for c in range(count):
        p1, p2, p3, p4 = x[c + step], x[c + 2 * step], x[c + 3 * step], x[c + 4 * step]
        even, odd, more_even, more_odd = p1 + p2, p1 - p2, p3 + p4, p3 - p4
        y[c] = x[c] + even + more_even
        y[c + step] = large1 * odd + small1 * more_odd
        y[c + 2 * step] = large2 * even + small2 * more_even
        y[c + 3 * step] = large3 * odd + small3 * more_odd + x[c + 5 * step]


@kernel
def _transform_tiles(x, values, shape, skipped, top_row, end_row, first, last, B):  # type: ignore[no-untyped-def]
    """Tiles → `values`. Of the rows from `top_row` to `end_row` of all planes, counted on, those `first` to `last`."""
    _, height, width, channels = x.shape
    wide, n = (width + 3) // 4, min(channels, _CHANNELS)
    tile, half, done = np.zeros(6 * _ROW, np.float32), np.zeros(6 * _ROW, np.float32), np.zeros(6 * _ROW, np.float32)
    for row in range(first, last):
        plane, top = x[row // (end_row - top_row)], 4 * (top_row + row % (end_row - top_row)) - 1
        for column in range(wide):
            left, start = 4 * column - 1, (skipped + row * wide + column) * shape[1]
            for begin in range(0, channels, _CHANNELS):
                c = min(begin, channels - n)  # the last ones twice rather than fewer at once
                for i in range(6):
                    for j in range(6):
                        there = tile[i * _ROW + j * _CHANNELS : i * _ROW + j * _CHANNELS + n]
                        if 0 <= top + i < height and 0 <= left + j < width:
                            pixel = plane[top + i, left + j, c : c + n]
                            for k in range(n):
                                there[k] = pixel[k]
                        else:
                            there[:] = 0
                _six_values(B, tile, half, _ROW, _ROW)
                for i in range(6):
                    _six_values(
                        B, half[i * _ROW : (i + 1) * _ROW], done[i * _ROW : (i + 1) * _ROW], _CHANNELS, _CHANNELS
                    )
                for v in range(36):
                    place = start + c + v * shape[0]
                    there, seen = values[place : place + n], done[v * _CHANNELS : v * _CHANNELS + n]
                    for k in range(n):
                        there[k] = seen[k]


@kernel
def _transform_products(products, shape, out, bias, top_row, end_row, first, last, A):  # type: ignore[no-untyped-def]
    """Products → pixels plus `bias`; rows as in `_transform_tiles`."""
    _, height, width, channels = out.shape
    wide, n = (width + 3) // 4, min(channels, _CHANNELS)
    tile, half, done = np.zeros(6 * _ROW, np.float32), np.zeros(4 * _ROW, np.float32), np.zeros(4 * _ROW, np.float32)
    for row in range(first, last):
        plane, top = out[row // (end_row - top_row)], 4 * (top_row + row % (end_row - top_row))
        for column in range(wide):
            left, start = 4 * column, (row * wide + column) * shape[1]
            for begin in range(0, channels, _CHANNELS):
                c = min(begin, channels - n)
                for v in range(36):
                    place = start + c + v * shape[0]
                    there, seen = tile[v * _CHANNELS : v * _CHANNELS + n], products[place : place + n]
                    for k in range(n):
                        there[k] = seen[k]
                _four_pixels(A, tile, half, _ROW, _ROW)
                added = bias[c : c + n]
                for i in range(min(4, height - top)):
                    _four_pixels(
                        A, half[i * _ROW : (i + 1) * _ROW], done[i * _ROW : (i + 1) * _ROW], _CHANNELS, _CHANNELS
                    )
                    for j in range(min(4, width - left)):
                        there = plane[top + i, left + j, c : c + n]
                        seen = done[i * _ROW + j * _CHANNELS : i * _ROW + j * _CHANNELS + n]
                        for k in range(n):
                            there[k] = seen[k] + added[k]
