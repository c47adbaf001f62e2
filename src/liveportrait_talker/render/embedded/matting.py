"""Separate the person from the background of one image: opacity and colours of the person.

Trimap from the segmented mask → closed-form matte (Levin, Lischinski and Weiss 2008), solved at a reduced size → full
size by a guided filter (He and Sun 2015) → colours by blurred fusion (Forte 2021). Source:
docs/method/embedded_renderer.md, Layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import Flags, Floats, Floats32, Floats64, Image, Integers
from ...system.jit import kernel

_SOLVED_SIDE = 512  # px, longest side of the image in which the matte is solved
_PERSON, _BACKGROUND = 0.9, 0.1  # of the mask: beyond these it is taken for certain
_INWARD, _OUTWARD = 0.10, 0.18  # IOD, the zone on both sides of the mask's edge that is solved
_EPSILON = 1e-5  # closed-form matting: variance of colours within a window that counts as noise
_PRIOR = 1e-2  # weight of the mask within the zone, where it is certain
_RELATIVE_ERROR = 1e-4  # of the solution
_MOST_ROUNDS = 400
_GUIDED_RADIUS, _GUIDED_EPSILON = 2, 1e-4
_FUSION_RADII = (45, 4)  # px at the solved size: first far, then near
_ISLAND_RIM = 0.08  # IOD
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


def estimate_matte(image: Image, mask: Floats32, face: Flags, iod: float) -> Matte:
    """Return the matte of the person whose face is marked.

    Args:
        image: (H, W, 3) RGB.
        mask: (H, W) 0…1, roughly where persons are.
        face: (H, W) where the face is: certainly the person.
        iod: px.
    """
    height, width = image.shape[:2]
    factor = min(1.0, _SOLVED_SIDE / max(height, width))
    size = max(3, round(width * factor)), max(3, round(height * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image
    small_mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) if factor < 1 else mask
    small_face = cv2.resize(face.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    trimap = _build_trimap(small_mask, small_face, iod * factor)
    colours = small.astype(np.float64) / 255
    index = np.full(trimap.shape, -1, np.int32)
    unknown = trimap == 0.5
    index[unknown] = np.arange(np.count_nonzero(unknown), dtype=np.int32)
    values = trimap.astype(np.float64)
    values[unknown] = small_mask[unknown]
    alpha = values
    if unknown.any():
        stencil = _laplacian(colours, index, int(index.max()) + 1, _EPSILON)
        prior = values[unknown].copy()
        weight = _PRIOR * (2 * prior - 1) ** 2
        places = np.argwhere(unknown).astype(np.int32)
        _solve(stencil, places, index, alpha, prior, weight, _RELATIVE_ERROR, _MOST_ROUNDS)
    solved = np.clip(alpha, 0, 1).astype(np.float32)
    between = (solved > 0.1) & (solved < 0.9) & unknown
    uncertain = np.count_nonzero(between) / max(np.count_nonzero(unknown), 1)
    full = solved if factor == 1 else _refine(solved, small, image)
    known = cv2.resize(trimap, (width, height), interpolation=cv2.INTER_NEAREST)
    full = np.where(known == 0.5, full, known)
    full = np.clip((full - _CERTAIN) / (1 - 2 * _CERTAIN), 0, 1).astype(np.float32)
    full = _close_islands(full, known == 0, round(_ISLAND_RIM * iod))
    return Matte(full, _person_colours(image, full, factor), known == 0, uncertain)


def known_matte(image: Image, opacity: Image) -> Matte:
    """Return the matte of an (H, W, 3) image whose opacity (H, W), 0…255, is known."""
    alpha: Floats32 = opacity.astype(np.float32) / np.float32(255)
    factor = min(1.0, _SOLVED_SIDE / max(opacity.shape))
    return Matte(alpha, _person_colours(image, alpha, factor), opacity == 0, 0.0)


def _build_trimap(mask: Floats32, face: Flags, iod: float) -> Floats32:
    """Return 1 for the person with this face, 0 for the background, 0.5 where the matte is to be solved."""

    def shrunk(area: Flags, by: float) -> Flags:
        # Borders of the image do not shrink: the person goes on beyond them.
        radius = max(1, round(by))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        eroded: Flags = cv2.erode(area.astype(np.uint8), disc, borderValue=1) > 0
        return eroded

    person = (mask > 0.5) | face
    _, labels = cv2.connectedComponents(person.astype(np.uint8), connectivity=4)
    own = labels == np.bincount(labels[face]).argmax() if face.any() else person
    others = person & ~own
    trimap = np.full(mask.shape, 0.5, np.float32)
    trimap[shrunk((mask > _PERSON) & own, _INWARD * iod) | face] = 1
    trimap[shrunk((mask < _BACKGROUND) | others, _OUTWARD * iod)] = 0
    return trimap


@kernel
def _laplacian(colours: Floats64, index: Integers, unknowns: int, epsilon: float) -> Floats64:
    """Return the rows (unknowns, 25) of the matting Laplacian: weights of the 5×5 neighbours, row by row."""
    height, width = index.shape
    stencil = np.zeros((unknowns, 25))
    d = np.empty((9, 3))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            needed = False
            for k in range(9):
                if index[y + k // 3 - 1, x + k % 3 - 1] >= 0:
                    needed = True
            if not needed:
                continue
            m0 = m1 = m2 = 0.0
            for k in range(9):
                c = colours[y + k // 3 - 1, x + k % 3 - 1]
                d[k, 0], d[k, 1], d[k, 2] = c[0], c[1], c[2]
                m0, m1, m2 = m0 + c[0] / 9, m1 + c[1] / 9, m2 + c[2] / 9
            s00 = s01 = s02 = s11 = s12 = s22 = 0.0
            for k in range(9):
                d[k, 0], d[k, 1], d[k, 2] = d[k, 0] - m0, d[k, 1] - m1, d[k, 2] - m2
                s00, s01, s02 = s00 + d[k, 0] * d[k, 0], s01 + d[k, 0] * d[k, 1], s02 + d[k, 0] * d[k, 2]
                s11, s12, s22 = s11 + d[k, 1] * d[k, 1], s12 + d[k, 1] * d[k, 2], s22 + d[k, 2] * d[k, 2]
            s00, s11, s22 = s00 / 9 + epsilon / 9, s11 / 9 + epsilon / 9, s22 / 9 + epsilon / 9
            s01, s02, s12 = s01 / 9, s02 / 9, s12 / 9
            i00, i01, i02 = s11 * s22 - s12 * s12, s02 * s12 - s01 * s22, s01 * s12 - s02 * s11
            i11, i12, i22 = s00 * s22 - s02 * s02, s01 * s02 - s00 * s12, s00 * s11 - s01 * s01
            inverse = 1 / (s00 * i00 + s01 * i01 + s02 * i02)
            for i in range(9):
                row = index[y + i // 3 - 1, x + i % 3 - 1]
                if row < 0:
                    continue
                a0 = inverse * (d[i, 0] * i00 + d[i, 1] * i01 + d[i, 2] * i02)
                a1 = inverse * (d[i, 0] * i01 + d[i, 1] * i11 + d[i, 2] * i12)
                a2 = inverse * (d[i, 0] * i02 + d[i, 1] * i12 + d[i, 2] * i22)
                for j in range(9):
                    at = (j // 3 - i // 3 + 2) * 5 + j % 3 - i % 3 + 2
                    stencil[row, at] -= (1 + a0 * d[j, 0] + a1 * d[j, 1] + a2 * d[j, 2]) / 9
                stencil[row, 12] += 1
    return stencil


@kernel
def _solve(
    stencil: Floats64,
    places: Integers,
    index: Integers,
    alpha: Floats64,
    prior: Floats64,
    weight: Floats64,
    relative_error: float,
    most_rounds: int,
) -> None:
    """Solve the Laplacian for the unknown pixels of `alpha`, in place, by preconditioned conjugate gradients.

    Args:
        stencil: of `_laplacian`.
        places: (unknowns, 2) y, x.
        index: (h, w) number of the unknown, −1 where alpha is known.
        alpha: (h, w) known values, and the start of the unknown ones.
        prior: (unknowns,) what alpha is drawn to.
        weight: (unknowns,) of the prior, against the Laplacian.
        relative_error: of the residual, at which to end.
        most_rounds: to end at the latest.
    """
    unknowns = len(places)
    neighbours = np.full((unknowns, 25), -1, np.int32)
    x, r = np.empty(unknowns), np.zeros(unknowns)
    scale = 0.0
    for n in range(unknowns):
        py, px = places[n, 0], places[n, 1]
        x[n] = alpha[py, px]
        total = known = 0.0
        for k in range(25):
            if stencil[n, k] != 0:
                v, u = py + k // 5 - 2, px + k % 5 - 2
                neighbours[n, k] = index[v, u]
                total += stencil[n, k] * alpha[v, u]
                if index[v, u] < 0:
                    known += stencil[n, k] * alpha[v, u]
        r[n] = -total + weight[n] * (prior[n] - x[n])
        scale += (known - weight[n] * prior[n]) ** 2
    inverse = np.empty(unknowns)
    for n in range(unknowns):
        inverse[n] = 1 / (stencil[n, 12] + weight[n])
    p = np.zeros(unknowns)
    q = np.empty(unknowns)
    before = 1.0
    for turn in range(most_rounds):
        residual = rho = 0.0
        for n in range(unknowns):
            residual += r[n] * r[n]
            rho += r[n] * r[n] * inverse[n]
        if residual <= relative_error * relative_error * scale:
            break
        beta = rho / before if turn else 0.0
        before = rho
        for n in range(unknowns):
            p[n] = r[n] * inverse[n] + beta * p[n]
        curvature = 0.0
        for n in range(unknowns):
            total = weight[n] * p[n]
            for k in range(25):
                if neighbours[n, k] >= 0:
                    total += stencil[n, k] * p[neighbours[n, k]]
            q[n] = total
            curvature += p[n] * total
        if curvature <= 0:
            break
        step = rho / curvature
        for n in range(unknowns):
            x[n] += step * p[n]
            r[n] -= step * q[n]
    for n in range(unknowns):
        alpha[places[n, 0], places[n, 1]] = x[n]


def _refine(alpha: Floats32, small: Image, image: Image) -> Floats32:
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
    size = image.shape[1], image.shape[0]
    linear = cv2.resize(mean(np.dstack([slope, offset]).astype(np.float32)), size, interpolation=cv2.INTER_LINEAR)
    refined: Floats32 = (linear[..., :3] * image).sum(axis=-1) / 255 + linear[..., 3]
    return np.clip(refined, 0, 1)


def _close_islands(alpha: Floats32, surely_background: Flags, rim: int) -> Floats32:
    """Return `alpha` with 1 for gaps within the person, with their rims (px), of which the mask does not tell."""
    count, labels, found, _ = cv2.connectedComponentsWithStats((alpha < 0.5).astype(np.uint8), connectivity=4)
    is_gap = np.ones(count, bool)
    is_gap[labels[surely_background]] = False
    is_gap[0] = False  # the person
    is_large = is_gap & (found[:, cv2.CC_STAT_AREA] > rim**2)  # between strands there is no rim to close
    rims = cv2.dilate(is_large[labels].astype(np.uint8), np.ones((2 * rim + 1,) * 2, np.uint8)) > 0
    return np.where(is_gap[labels] | (rims & (alpha > 0)), np.float32(1), alpha)


def _person_colours(image: Image, alpha: Floats32, factor: float) -> Image:
    """Return the colours of the person, continued beyond its outline."""
    colours = image.astype(np.float32)
    opacity = alpha[..., None]
    foreground, background = colours, colours
    for radius in _FUSION_RADII:
        window = (2 * max(1, round(radius / factor)) + 1,) * 2
        mean_alpha = cv2.blur(alpha, window)[..., None]
        person = cv2.blur(foreground * opacity, window) / (mean_alpha + 1e-5)
        background = cv2.blur(background * (1 - opacity), window) / (1 - mean_alpha + 1e-5)
        rest = colours - opacity * person - (1 - opacity) * background
        foreground = np.clip(person + opacity * rest, 0, 255)
    return np.where(opacity == 1, image, np.rint(foreground).astype(np.uint8))
