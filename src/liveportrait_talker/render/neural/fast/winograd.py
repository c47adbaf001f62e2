"""3×3 convolutions on CPUs with a quarter of the multiplications: Winograd's minimal filtering F(4×4, 3×3).

Lavin and Gray, arXiv 1509.09308: each tile of 6×6 pixels is transformed to 36 values, which are multiplied by 36 values
of the transformed kernel; the products are transformed to 4×4 pixels. Over tiles and channels the products are 36
matrix products. The transforms evaluate polynomials at 0, ±√2, ±1/√2 and ∞, for which float32 rounds about as well as
in the direct sum. Matrix products in bfloat16 lose some digits, which is allowed for γ and β (docs/performance.md).

The transforms are Numba kernels, run in threads on a few rows of tiles at a time, so that intermediate values stay in
the CPU's cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....arrays import Floats32, Floats64
from ....system.jit import inlined, kernel
from .bf16_views import FORMATS, bits, narrow, widen
from .modulation import SLOPE
from .threads import run_in_threads

_POINTS = (0.0, 2**0.5, -(2**0.5), 0.5**0.5, -(0.5**0.5))
_TILE_SIZE, _TILE_STEP = 6, 4  # px; tiles overlap
_VALUES = _TILE_SIZE**2
_CHANNELS = 64  # transformed at once, so that 36 times as many values fit into the L1 cache
_SCRATCH_BYTES = 48 * 2**20  # of values between the two transforms: larger matrix products, still mostly in the cache
_CHANNEL_MULTIPLE = 16  # alignment of matrix rows; unaligned ones are a third slower
_MIN_CHANNELS = 30  # I·O/(I + O) below which the transforms cost more than they save (docs/performance.md)


def winograd_pays(inputs: int, outputs: int) -> bool:
    """Return whether Winograd is faster for these numbers of channels."""
    return inputs * outputs >= _MIN_CHANNELS * (inputs + outputs)


def _make_transforms() -> tuple[Floats64, Floats64, Floats64]:
    """Return the 1-D transforms of tile (6, 6), kernel (6, 3) and products (4, 6), by the Toom–Cook algorithm."""
    points = np.array(_POINTS)
    tile, weight, pixels = (
        np.zeros((_TILE_SIZE, _TILE_SIZE)),
        np.zeros((_TILE_SIZE, 3)),
        np.zeros((_TILE_STEP, _TILE_SIZE)),
    )
    for k, point in enumerate(points):
        others = np.delete(points, k)
        tile[k, : _TILE_SIZE - 1] = np.poly(others)[::-1]
        weight[k] = point ** np.arange(3) / np.prod(point - others)
        pixels[:, k] = point ** np.arange(_TILE_STEP)
    tile[-1] = np.poly(points)[::-1]  # at infinity
    weight[-1, -1] = pixels[-1, -1] = 1
    return tile / 4, weight * 4, pixels  # scaled so that all entries are of similar size


_TILE, _KERNEL, _PIXELS = _make_transforms()
_B: Floats32 = _TILE.astype(np.float32)
_A: Floats32 = _PIXELS.astype(np.float32)


class WinogradConv(nn.Module):
    """`Conv` for a 3×3 kernel: (N, I, H, W) → (N, O, H, W), channels last, zero padding.

    Input and output are float32 or bfloat16; what is between them is float32.
    """

    values: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> None:
        super().__init__()
        self.relu = relu
        self.register_buffer("values", transform_kernel(weight))
        self.register_buffer("bias", weight.new_zeros(len(weight)) if bias is None else bias.float())

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Return conv(x) + addend, after ReLU if set; the result is in the memory of `addend`."""
        out = _empty_like(x, len(self.bias)) if addend is None else addend.permute(0, 2, 3, 1)
        _convolve(x, self.values, partial(_write_pixels, out, self.bias, self.relu, addend is not None))
        return out.permute(0, 3, 1, 2)


class WinogradModulation(nn.Module):
    """The convolutions for γ and β of one SPADE normalisation, and the normalisation itself in their last transform.

    γ and β are not stored: what is written is leaky(normal · γ + β), or normal · γ where `beta` is None. `products` is
    the format of the matrix products.
    """

    values: Tensor
    bias: Tensor

    def __init__(
        self,
        gamma: tuple[Tensor, Tensor],
        beta: tuple[Tensor, Tensor] | None,
        *,
        products: torch.dtype,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.has_beta, self.upsample = beta is not None, upsample
        pairs = [gamma] if beta is None else [gamma, beta]
        weight, bias = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        self.register_buffer("values", transform_kernel(weight).to(products))
        self.register_buffer("bias", bias.float())

    def forward(self, shared: Tensor, x: Tensor, statistics: tuple[Floats32, Floats32]) -> Tensor:
        """Return the modulated `x` (B, C, h, w), which has the mean and 1 / deviation of `statistics`."""
        out, times = _empty_like(shared, x.shape[1]), 2 if self.upsample else 1
        _convolve(shared, self.values, partial(_write_modulated, out, self.bias, x, statistics, self.has_beta, times))
        return out.permute(0, 3, 1, 2)


class WinogradDepthConv(nn.Module):
    """3×3×3 convolution of volumes (B·D, I, H, W) → (B·D, O, H, W): the sum of three `WinogradConv`."""

    values: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, depth: int, *, relu: bool = False) -> None:
        super().__init__()
        self.depth, self.relu = depth, relu
        self.register_buffer("values", torch.stack([transform_kernel(taps) for taps in weight.unbind(2)]))
        self.register_buffer("bias", bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """Return (B·D, O, H, W), after ReLU if set."""
        assert len(x) % self.depth == 0
        planes, out = _planes(x), _empty_like(x, len(self.bias))
        inputs, outputs = self.values.shape[2:]
        wide, dtype = _tile_count(x.shape[3]), self.values.dtype
        numbers = wide * ((self.depth + 2) * inputs + self.depth * outputs)
        for rows in _row_blocks(_tile_count(x.shape[2]), numbers, dtype):
            area = len(rows) * wide
            tiles = self.depth * area
            values, sums = _allocate_scratch(dtype, (tiles + 2 * area, inputs), (tiles, outputs))
            values[:, :area] = values[:, -area:] = 0  # zero padding along depth
            for start in range(0, len(x), self.depth):
                volume = slice(start, start + self.depth)
                _transform_input(planes[volume], values, rows, skipped=area)
                torch.bmm(values[:, :tiles], self.values[0], out=sums)
                for k in (1, 2):
                    sums.baddbmm_(values[:, k * area : k * area + tiles], self.values[k])
                _write_pixels(out[volume], self.bias, self.relu, False, sums, rows)
        return out.permute(0, 3, 1, 2)


def transform_kernel(weight: Tensor) -> Tensor:
    """Transform kernels (O, I, 3, 3) to (36, I, O) float32, with channels zero-padded to a multiple of 16."""
    both = torch.from_numpy(np.kron(_KERNEL, _KERNEL))  # (36, 9)
    outputs, inputs = weight.shape[:2]
    values = both @ weight.double().permute(2, 3, 1, 0).reshape(9, -1)
    return F.pad(
        values.float().view(_VALUES, inputs, outputs), (0, -outputs % _CHANNEL_MULTIPLE, 0, -inputs % _CHANNEL_MULTIPLE)
    )


def _planes(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N, H, W, C); a view if `x` is channels last."""
    return x.permute(0, 2, 3, 1).contiguous()


def _empty_like(x: Tensor, outputs: int) -> Tensor:
    count, _, height, width = x.shape
    return x.new_empty(count, height, width, outputs)


def _tile_count(length: int) -> int:
    return -(-length // _TILE_STEP)


def _row_blocks(rows: int, numbers: int, dtype: torch.dtype) -> list[range]:
    """Divide the rows of tiles into blocks that fit into scratch memory; a row needs 36 · `numbers` values."""
    most = max(1, _SCRATCH_BYTES // (dtype.itemsize * _VALUES * max(1, numbers)))
    count = -(-rows // most)
    return [range(rows * k // count, rows * (k + 1) // count) for k in range(count)]


_local = threading.local()


def _allocate_scratch(dtype: torch.dtype, *shapes: tuple[int, int]) -> list[Tensor]:
    """Return 36 uninitialised matrices of each shape, in memory that the thread keeps, because new pages are slow."""
    sizes = [_VALUES * rows * columns for rows, columns in shapes]
    ends = list(accumulate(sizes, initial=0))
    kept: Floats32 | None = getattr(_local, "memory", None)
    needed = ends[-1] * dtype.itemsize // 4  # of which there is an even number
    if kept is None or len(kept) < needed:
        kept = _local.memory = np.empty(needed, np.float32)
    memory = torch.from_numpy(kept).view(dtype)
    return [memory[start:end].view(_VALUES, *shape) for start, end, shape in zip(ends, ends[1:], shapes, strict=False)]


def _convolve(x: Tensor, kernels: Tensor, write: Callable[[Tensor, range], None]) -> None:
    """Pass the products of `x` (N, I, H, W) and `kernels` (36, I, O) to `write`, with the rows of tiles they are of."""
    planes, (inputs, outputs), dtype = _planes(x), kernels.shape[1:], kernels.dtype
    area = len(x) * _tile_count(x.shape[3])
    for rows in _row_blocks(_tile_count(x.shape[2]), area * (inputs + outputs), dtype):
        tiles = len(rows) * area
        values, products = _allocate_scratch(dtype, (tiles, inputs), (tiles, outputs))
        _transform_input(planes, values, rows)
        torch.bmm(values, kernels, out=products)
        write(products, rows)


def _transform_input(planes: Tensor, values: Tensor, rows: range, skipped: int = 0) -> None:
    """Transform rows of tiles of all planes (N, H, W, I) to values (36, T, I), beginning at tile `skipped`."""
    values[..., planes.shape[-1] :] = 0  # the padded weights are 0, but 0 · NaN is NaN
    shape, shift, bit_format = values.stride()[:2], FORMATS[planes.dtype].shift, tuple(FORMATS[values.dtype])
    pixels, flat = bits(planes), bits(values.view(-1))

    def work(low: int, high: int) -> None:
        part = rows.start, rows.stop, low, high
        _transform_tile_rows(pixels, flat, shape, skipped, part, _B, shift, bit_format)

    run_in_threads(work, len(planes) * len(rows))


def _write_pixels(out: Tensor, bias: Tensor, relu: bool, adds: bool, products: Tensor, rows: range) -> None:
    """Transform products, in the order of `_transform_input`, to rows of all planes `out` (N, H, W, O).

    Added are `bias`, and what is in `out` if `adds`.
    """
    shape, shift, bit_format = products.stride()[:2], FORMATS[products.dtype].shift, tuple(FORMATS[out.dtype])
    flat, pixels, offset = bits(products.view(-1)), bits(out), bias.numpy()

    def work(low: int, high: int) -> None:
        part = rows.start, rows.stop, low, high
        _transform_product_rows(flat, shape, pixels, offset, relu, adds, part, _A, shift, bit_format)

    run_in_threads(work, len(out) * len(rows))


def _write_modulated(
    out: Tensor,
    bias: Tensor,
    x: Tensor,
    statistics: tuple[Floats32, Floats32],
    has_beta: bool,
    times: int,
    products: Tensor,
    rows: range,
) -> None:
    """Transform products to γ and β, and write the modulated `x`, enlarged `times`, to `out` (N, H, W, C)."""
    assert out.shape[1:3] == (times * x.shape[2], times * x.shape[3])
    shape, shift, bit_format = products.stride()[:2], FORMATS[products.dtype].shift, tuple(FORMATS[out.dtype])
    flat, pixels, view = bits(products.view(-1)), bits(out), bits(_planes(x))
    given = _by_channel_block(*statistics, *np.split(bias.numpy(), 2 if has_beta else 1))

    def work(low: int, high: int) -> None:
        part = rows.start, rows.stop, low, high
        _modulate_rows(flat, shape, pixels, view, given, has_beta, times, part, _A, shift, bit_format)

    run_in_threads(work, len(out) * len(rows))


def _by_channel_block(*rows: Floats32) -> Floats32:
    """Return rows (C) or (B, C) as (B, C / 64, rows, 64), zero-padded."""
    table = np.stack(np.broadcast_arrays(*rows), axis=1)
    table = np.pad(table, ((0, 0), (0, 0), (0, -table.shape[2] % _CHANNELS)))
    blocks = table.reshape(*table.shape[:2], -1, _CHANNELS).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks)


# LLVM vectorises a loop only if it can prove that input and output do not overlap. Sums are therefore computed between
# small buffers at constant offsets, and data is copied into and out of them.

_ROW = _TILE_SIZE * _CHANNELS  # floats in one row of a tile


@inlined
def _input_transform_1d(B, x, y, step, count):  # type: ignore[no-untyped-def]
    """Transform six pixels `x` to six values `y`, `step` apart; values at ±√2 and at ±1/√2 share two sums each."""
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
def _output_transform_1d(A, x, y, step, count):  # type: ignore[no-untyped-def]
    """Transform six products `x` to four pixels `y`, `step` apart."""
    large1, large2, large3 = A[1, 1], A[2, 1], A[3, 1]
    small1, small2, small3 = A[1, 3], A[2, 3], A[3, 3]
    for c in range(count):
        p1, p2, p3, p4 = x[c + step], x[c + 2 * step], x[c + 3 * step], x[c + 4 * step]
        even, odd, more_even, more_odd = p1 + p2, p1 - p2, p3 + p4, p3 - p4
        y[c] = x[c] + even + more_even
        y[c + step] = large1 * odd + small1 * more_odd
        y[c + 2 * step] = large2 * even + small2 * more_even
        y[c + 3 * step] = large3 * odd + small3 * more_odd + x[c + 5 * step]


@inlined
def _transform_products(A, products, shape, place, n, shift, wide, half, done):  # type: ignore[no-untyped-def]
    """Transform the products of one tile, `n` channels from `place`, to pixels `done`; `wide`, `half` are scratch."""
    for v in range(36):
        begin = place + v * shape[0]
        widen(products[begin : begin + n], wide[v * _CHANNELS : v * _CHANNELS + n], shift)
    _output_transform_1d(A, wide.view(np.float32), half, _ROW, _ROW)
    for i in range(4):
        _output_transform_1d(A, half[i * _ROW : (i + 1) * _ROW], done[i * _ROW : (i + 1) * _ROW], _CHANNELS, _CHANNELS)


@inlined
def _scale(normal, given, gammas, place):  # type: ignore[no-untyped-def]
    """Normalise and multiply by γ."""
    for k in range(_CHANNELS):
        normal[k] = (normal[k] - given[0, k]) * given[1, k] * (gammas[place + k] + given[2, k])


@inlined
def _add_and_activate(normal, given, betas, place):  # type: ignore[no-untyped-def]
    """Add β, then leaky ReLU."""
    for k in range(_CHANNELS):
        v = normal[k] + (betas[place + k] + given[3, k])
        normal[k] = v if v > 0 else np.float32(SLOPE) * v


@kernel
def _transform_tile_rows(  # type: ignore[no-untyped-def]
    x, values, shape, skipped, part, B, x_shift, bit_format
):
    """Transform tiles to `values`: `part` is top and end row, in all planes, and the range of these, numbered on."""
    (top_row, end_row, first, last), (shift, half_bit, odd) = part, bit_format
    _, height, width, channels = x.shape
    wide, n = (width + 3) // 4, min(channels, _CHANNELS)
    bits_of_tile, bits_done = np.zeros(6 * _ROW, np.uint32), np.zeros(6 * _ROW, np.uint32)
    tile, half, done = bits_of_tile.view(np.float32), np.zeros(6 * _ROW, np.float32), bits_done.view(np.float32)
    for row in range(first, last):
        plane, top = x[row // (end_row - top_row)], 4 * (top_row + row % (end_row - top_row)) - 1
        for column in range(wide):
            left, start = 4 * column - 1, (skipped + row * wide + column) * shape[1]
            for begin in range(0, channels, _CHANNELS):
                c = min(begin, channels - n)  # the last block may overlap: all blocks have n channels
                for i in range(6):
                    for j in range(6):
                        target = bits_of_tile[i * _ROW + j * _CHANNELS : i * _ROW + j * _CHANNELS + n]
                        if 0 <= top + i < height and 0 <= left + j < width:
                            widen(plane[top + i, left + j, c : c + n], target, x_shift)
                        else:
                            target[:] = 0
                _input_transform_1d(B, tile, half, _ROW, _ROW)
                for i in range(6):
                    _input_transform_1d(
                        B, half[i * _ROW : (i + 1) * _ROW], done[i * _ROW : (i + 1) * _ROW], _CHANNELS, _CHANNELS
                    )
                for v in range(36):
                    place = start + c + v * shape[0]
                    source = bits_done[v * _CHANNELS : v * _CHANNELS + n]
                    narrow(source, values[place : place + n], shift, half_bit, odd)


@kernel
def _transform_product_rows(  # type: ignore[no-untyped-def]
    products, shape, out, bias, relu, adds, part, A, product_shift, bit_format
):
    """Transform products to pixels, plus `bias` and, if `adds`, `out`; `part` as in `_transform_tile_rows`."""
    (top_row, end_row, first, last), (shift, half_bit, odd) = part, bit_format
    _, height, width, channels = out.shape
    wide, n = (width + 3) // 4, min(channels, _CHANNELS)
    tile, half = np.zeros(6 * _ROW, np.uint32), np.zeros(4 * _ROW, np.float32)
    bits_done, bits_added = np.zeros(4 * _ROW, np.uint32), np.zeros(_CHANNELS, np.uint32)
    done, added = bits_done.view(np.float32), bits_added.view(np.float32)
    for row in range(first, last):
        plane, top = out[row // (end_row - top_row)], 4 * (top_row + row % (end_row - top_row))
        for column in range(wide):
            left, start = 4 * column, (row * wide + column) * shape[1]
            for c in range(0, channels, _CHANNELS):
                m = min(n, channels - c)  # not overlapping, as `out` may be added
                _transform_products(A, products, shape, start + c, m, product_shift, tile, half, done)
                offset = bias[c : c + m]
                for i in range(min(4, height - top)):
                    for j in range(min(4, width - left)):
                        target = plane[top + i, left + j, c : c + m]
                        place = i * _ROW + j * _CHANNELS
                        source = done[place : place + m]
                        for k in range(m):
                            source[k] += offset[k]
                        if adds:
                            widen(target, bits_added, shift)
                            for k in range(m):
                                source[k] += added[k]
                        if relu:
                            for k in range(m):
                                source[k] = max(source[k], np.float32(0))
                        narrow(bits_done[place : place + m], target, shift, half_bit, odd)


@kernel
def _modulate_rows(  # type: ignore[no-untyped-def]
    products, shape, out, x, given, has_beta, times, part, A, product_shift, bit_format
):
    """Transform products to γ and β, and modulate `x` with them; `part` as in `_transform_tile_rows`."""
    (top_row, end_row, first, last), (shift, half_bit, odd) = part, bit_format
    _, height, width, channels = out.shape
    wide = (width + 3) // 4
    tile, half = np.zeros(6 * _ROW, np.uint32), np.zeros(4 * _ROW, np.float32)
    gammas, betas = np.zeros(4 * _ROW, np.float32), np.zeros(4 * _ROW, np.float32)
    bits_normal = np.zeros(_CHANNELS, np.uint32)
    normal = bits_normal.view(np.float32)
    for row in range(first, last):
        image = row // (end_row - top_row)
        top = 4 * (top_row + row % (end_row - top_row))
        for column in range(wide):
            left, start = 4 * column, (row * wide + column) * shape[1]
            for c in range(0, channels, _CHANNELS):
                n = min(_CHANNELS, channels - c)
                _transform_products(A, products, shape, start + c, n, product_shift, tile, half, gammas)
                if has_beta:
                    _transform_products(A, products, shape, start + channels + c, n, product_shift, tile, half, betas)
                own = given[image, c // _CHANNELS]
                for i in range(min(4, height - top)):
                    for j in range(min(4, width - left)):
                        widen(x[image, (top + i) // times, (left + j) // times, c : c + n], bits_normal, shift)
                        _scale(normal, own, gammas, i * _ROW + j * _CHANNELS)
                        if has_beta:
                            _add_and_activate(normal, own, betas, i * _ROW + j * _CHANNELS)
                        narrow(bits_normal[:n], out[image, top + i, left + j, c : c + n], shift, half_bit, odd)
