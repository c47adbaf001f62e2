"""The background continued behind the person: smooth colours, and the texture of the mirrored surroundings.

Colours, distances and directions are computed at a reduced size; the texture is read from the image itself. Source:
docs/method/embedded_renderer.md, Layers.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Flags, Floats32, Image
from ...system.jit import inlined, kernel
from .fields import cell, read, reduced_size

_FILLED = 0.9  # IOD inside the outline over which the background is continued with its texture
_SMOOTHED = 0.08  # IOD, of the direction in which it is mirrored
_TEXTURE, _USUAL = 0.12, 0.5  # IOD: what is finer is texture; where its usual strength is measured
_RARELY = 0.25  # exponent of the mean of its strengths: few strong ones, as of a logo, count little
_UNSURE = 0.03  # weight of a pixel that may show remains of the person
_LEAST_KNOWN = 0.25  # of the pixels of a reduced one
_NONE, _ONE, _MOST = np.float32(0), np.float32(1), np.float32(255)


def fill_background(image: Image, hole: Flags, sure: Flags, iod: float) -> Image:
    """Return the image with the hole filled: smoothly, with the texture of the mirrored surroundings near its edge.

    Beside the hole there may be remains of the person; where `sure`, there are none, which counts more.
    """
    filled = image.copy()
    if not hole.any() or hole.all():
        return filled
    factor, size = reduced_size(*hole.shape)
    iod *= factor

    def reduced(values: Image, method: int = cv2.INTER_AREA) -> Image:
        return values if factor == 1 else cv2.resize(values, size, interpolation=method).astype(np.uint8)

    def mean(values: Floats32, radius: float) -> Floats32:
        averaged: Floats32 = cv2.blur(values, (2 * max(1, round(radius * iod)) + 1,) * 2)
        return averaged

    visible = 255 * (~hole).astype(np.uint8)
    known = reduced(visible).astype(np.float32) / 255
    known[known < _LEAST_KNOWN] = 0
    colours = reduced(cv2.bitwise_and(image, image, mask=visible)) / np.maximum(known, _LEAST_KNOWN)[..., None]
    surely = reduced(255 * sure.astype(np.uint8)) > 127
    smooth = _push_pull(colours, np.where(surely, known, np.float32(_UNSURE) * known))
    base = mean(smooth, _TEXTURE)
    # Grain, leaves and grass go on; a logo or a stray lock of hair should not.
    samples = (reduced(visible, cv2.INTER_NEAREST) > 0).astype(np.float32)
    strength = np.abs(reduced(image, cv2.INTER_NEAREST) - base) ** _RARELY * samples[..., None]
    usual = (mean(strength, _USUAL) / np.maximum(mean(samples, _USUAL), 1e-3)[..., None]) ** (1 / _RARELY)
    distance, labels = cv2.distanceTransformWithLabels(
        (known == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    y, x = np.nonzero(known > 0)
    edge = np.zeros((labels.max() + 1, 2), np.float32)
    edge[labels[y, x]] = np.stack([x, y], axis=1)
    columns, rows = np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)
    offset = mean(edge[labels] - np.dstack(np.meshgrid(columns, rows)), _SMOOTHED)
    mirrored = np.dstack([2 / factor * offset, distance / iod]).astype(np.float32)
    _fill(image, hole, smooth, base, usual.astype(np.float32), mirrored, _FILLED, filled)
    return filled


@inlined
def _reflect(at: float, size: int) -> float:
    at = abs(at)
    return max(2 * (size - 1) - at, 0.0) if at > size - 1 else at


@kernel
def _fill(
    image: Image,
    hole: Flags,
    smooth: Floats32,
    base: Floats32,
    usual: Floats32,
    mirrored: Floats32,
    reach: float,
    out: Image,
) -> None:
    """Fill the hole of `out`.

    Args:
        image: (H, W, 3), not read within the hole.
        hole: (H, W).
        smooth: (h, w, 3) colours without texture.
        base: (h, w, 3) what the texture is added to.
        usual: (h, w, 3) its usual strength; twice that is the most.
        mirrored: (h, w, 3) offset x, y to the mirrored place, px of the image, and distance inside the hole, IOD.
        reach: IOD from the edge of the hole at which the texture ends.
        out: (H, W, 3).
    """
    height, width = hole.shape
    rows, columns = smooth.shape[:2]
    for y in range(height):
        top, below, down = cell(y, height, rows)
        for x in range(width):
            if not hole[y, x]:
                continue
            left, right, across = cell(x, width, columns)
            inside = read(mirrored, top, below, down, left, right, across, 2) / np.float32(reach)
            step = min(max((_ONE - inside) / np.float32(0.4), _NONE), _ONE)
            weight = step * step * (3 - 2 * step)
            if weight == 0:
                for c in range(3):
                    out[y, x, c] = np.uint8(read(smooth, top, below, down, left, right, across, c) + np.float32(0.5))
                continue
            u = _reflect(x + read(mirrored, top, below, down, left, right, across, 0), width)
            v = _reflect(y + read(mirrored, top, below, down, left, right, across, 1), height)
            x0, y0 = int(u), int(v)
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            wx, wy = np.float32(u - x0), np.float32(v - y0)
            w00 = _NONE if hole[y0, x0] else (1 - wx) * (1 - wy)
            w01 = _NONE if hole[y0, x1] else wx * (1 - wy)
            w10 = _NONE if hole[y1, x0] else (1 - wx) * wy
            w11 = _NONE if hole[y1, x1] else wx * wy
            there_top, there_below, there_down = cell(y0, height, rows)
            there_left, there_right, there_across = cell(x0, width, columns)
            for c in range(3):
                level = read(base, there_top, there_below, there_down, there_left, there_right, there_across, c)
                most = 2 * read(usual, there_top, there_below, there_down, there_left, there_right, there_across, c)
                texture = (
                    w00 * (np.float32(image[y0, x0, c]) - level)
                    + w01 * (np.float32(image[y0, x1, c]) - level)
                    + w10 * (np.float32(image[y1, x0, c]) - level)
                    + w11 * (np.float32(image[y1, x1, c]) - level)
                )
                value = read(smooth, top, below, down, left, right, across, c)
                value += weight * min(max(texture, -most), most)
                out[y, x, c] = np.uint8(min(max(value, _NONE), _MOST) + np.float32(0.5))


def _push_pull(colours: Floats32, weight: Floats32) -> Floats32:
    """Return the colours (h, w, 3) with those of weight 0 interpolated from coarser levels."""
    if min(weight.shape) <= 2 or weight.min() > 0:
        mean = (colours * weight[..., None]).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(weight[..., None] > 0, colours, mean).astype(np.float32)
    small_weight = cv2.pyrDown(weight)
    small = cv2.pyrDown(colours * weight[..., None]) / np.maximum(small_weight, 1e-6)[..., None]
    coarse = _push_pull(small, np.where(small_weight > 1e-6, small_weight, 0))
    size = weight.shape[1], weight.shape[0]
    return np.where(weight[..., None] > 0, colours, cv2.pyrUp(coarse, dstsize=size)).astype(np.float32)
