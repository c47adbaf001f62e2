"""Separate the person from the background of one image: opacity and colours of the person.

Trimap from the segmented mask → closed-form matte (Levin, Lischinski and Weiss 2008), solved at a reduced size → full
size by a guided filter (He and Sun 2015) → colours by blurred fusion (Forte 2021). Source:
docs/method/embedded_renderer.md, Layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import Flags, Floats, Floats32, Image
from ...system.jit import kernel
from .closed_form import solve_matte
from .fields import cell, read, reduced_size
from .trimap import build_trimap, mend_mask, opened

_GUIDED_RADIUS, _GUIDED_EPSILON = 2, 1e-4
_FUSION_RADII = (45, 4)  # px at the solved size: first far, then near
_ISLAND_RIM = 0.08  # IOD
_WIDE = 0.08  # IOD, half the width of what is neither person nor background and no edge
_WIDE_PX = 3  # at the solved size, at least
_CERTAIN = 0.05  # opacities this close to 0 and 1 are set to them


@dataclass(frozen=True, eq=False)
class Matte:
    """The person in an image: image = alpha · foreground + (1 − alpha) · background."""

    alpha: Floats32
    """(H, W) 0…1."""
    foreground: Image
    """(H, W, 3) colours of the person, continued beyond its outline; the image itself where alpha is 1."""
    surely_background: Flags
    """(H, W) where the mask alone tells that it is background."""
    uncertain: float
    """Share of the solved zone that is neither person nor background; low for a good matte."""
    doubt: float
    """Area where the person may be cut off or something else may belong to it, IOD²."""


def estimate_matte(image: Image, mask: Floats32, face: Flags, iod: float) -> Matte:
    """Return the matte of the person whose face is marked.

    Args:
        image: (H, W, 3) RGB.
        mask: (H, W) 0…1, roughly where persons are.
        face: (H, W) where the face is: certainly the person.
        iod: px.
    """
    height, width = image.shape[:2]
    factor, size = reduced_size(height, width)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image
    small_mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) if factor < 1 else mask
    small_face = cv2.resize(face.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    small_mask, doubtful = mend_mask(small, small_mask, iod * factor)
    trimap = build_trimap(small_mask, small_face, iod * factor)
    solved = solve_matte(small, trimap, small_mask)
    unknown = trimap == 0.5
    between = (solved > 0.1) & (solved < 0.9) & unknown
    uncertain = np.count_nonzero(between) / max(np.count_nonzero(unknown), 1)
    doubtful |= opened(between, max(_WIDE * iod * factor, _WIDE_PX))
    doubt = np.count_nonzero(doubtful) / (iod * factor) ** 2
    alpha = np.where(unknown, solved, trimap) if factor == 1 else _enlarge(solved, trimap, small, image)
    alpha = np.clip((alpha - np.float32(_CERTAIN)) / np.float32(1 - 2 * _CERTAIN), 0, 1)
    background = cv2.resize((trimap == 0).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    alpha = _close_islands(alpha, background, round(_ISLAND_RIM * iod))
    return Matte(alpha, _person_colours(image, alpha), background, uncertain, doubt)


def known_matte(image: Image, opacity: Image) -> Matte:
    """Return the matte of an (H, W, 3) image whose opacity (H, W), 0…255, is known."""
    alpha: Floats32 = opacity.astype(np.float32) / np.float32(255)
    return Matte(alpha, _person_colours(image, alpha), opacity == 0, 0.0, 0.0)


def _enlarge(alpha: Floats32, trimap: Floats32, small: Image, image: Image) -> Floats32:
    """Return `alpha` at the size of `image`, with the edges of its colours."""
    guide = small.astype(np.float32) / 255
    window = (2 * _GUIDED_RADIUS + 1,) * 2

    def mean(values: Floats) -> Floats32:
        averaged: Floats32 = cv2.blur(values, window, borderType=cv2.BORDER_REFLECT)
        return averaged

    centre, level = mean(guide), mean(alpha)
    covariance = mean(guide * alpha[..., None]) - centre * level[..., None]
    products = mean((guide[..., :, None] * guide[..., None, :]).reshape(*alpha.shape, 9))
    spread = products.reshape(*alpha.shape, 3, 3) - centre[..., :, None] * centre[..., None, :]
    slope = np.linalg.solve(spread + _GUIDED_EPSILON * np.eye(3, dtype=np.float32), covariance[..., None])[..., 0]
    offset = level - (slope * centre).sum(axis=-1)
    enlarged = np.empty(image.shape[:2], np.float32)
    _apply_guide(mean(np.dstack([slope / 255, offset]).astype(np.float32)), trimap, image, enlarged)
    return enlarged


@kernel
def _apply_guide(linear: Floats32, trimap: Floats32, image: Image, out: Floats32) -> None:
    """Compute the opacity (H, W) from a linear function (h, w, 4) of the colours, where the trimap (h, w) is 0.5."""
    height, width = out.shape
    rows, columns = trimap.shape
    for y in range(height):
        top, below, down = cell(y, height, rows)
        for x in range(width):
            known = trimap[y * rows // height, x * columns // width]
            if known != np.float32(0.5):
                out[y, x] = known
                continue
            left, right, across = cell(x, width, columns)
            value = read(linear, top, below, down, left, right, across, 3)
            for c in range(3):
                value += read(linear, top, below, down, left, right, across, c) * np.float32(image[y, x, c])
            out[y, x] = min(max(value, np.float32(0)), np.float32(1))


def _close_islands(alpha: Floats32, surely_background: Flags, rim: int) -> Floats32:
    """Return `alpha` with 1 for gaps within the person, with their rims (px), of which the mask does not tell."""
    count, labels, found, _ = cv2.connectedComponentsWithStats((alpha < 0.5).astype(np.uint8), connectivity=4)
    is_gap = np.ones(count, bool)
    is_gap[labels[surely_background]] = False
    is_gap[0] = False  # the person
    is_large = is_gap & (found[:, cv2.CC_STAT_AREA] > rim**2)  # between strands there is no rim to close
    rims = cv2.dilate(is_large[labels].astype(np.uint8), np.ones((2 * rim + 1,) * 2, np.uint8)) > 0
    return np.where(is_gap[labels] | (rims & (alpha > 0)), np.float32(1), alpha)


def _person_colours(image: Image, alpha: Floats32) -> Image:
    """Return the colours of the person, continued beyond its outline."""
    factor, size = reduced_size(*alpha.shape)
    small = image if factor == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    reduced = alpha if factor == 1 else cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    opacity = reduced[..., None]
    colours = small.astype(np.float32)
    foreground, person, background = colours, colours, colours
    for radius in _FUSION_RADII:
        window = (2 * radius + 1,) * 2
        mean_alpha = cv2.blur(reduced, window)[..., None]
        person = cv2.blur(foreground * opacity, window) / (mean_alpha + np.float32(1e-5))
        background = cv2.blur(background * (1 - opacity), window) / (1 - mean_alpha + np.float32(1e-5))
        rest = colours - opacity * person - (1 - opacity) * background
        foreground = np.clip(person + opacity * rest, 0, 255)
    fused = image.copy()
    _fuse(image, alpha, person, background, fused)
    return fused


@kernel
def _fuse(image: Image, alpha: Floats32, person: Floats32, background: Floats32, out: Image) -> None:
    """Compute the colours of the person where alpha is not 1, from smooth ones (h, w, 3) of person and background."""
    height, width = alpha.shape
    rows, columns = person.shape[:2]
    for y in range(height):
        top, below, down = cell(y, height, rows)
        for x in range(width):
            a = alpha[y, x]
            if a == 1:
                continue
            left, right, across = cell(x, width, columns)
            for c in range(3):
                own = read(person, top, below, down, left, right, across, c)
                other = read(background, top, below, down, left, right, across, c)
                own += a * (np.float32(image[y, x, c]) - a * own - (1 - a) * other)
                out[y, x, c] = np.uint8(min(max(own, np.float32(0)), np.float32(255)) + np.float32(0.5))
