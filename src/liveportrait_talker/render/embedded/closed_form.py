"""Closed-form matting (Levin, Lischinski and Weiss 2008): opacity within a zone, from colours and what surrounds it."""

from __future__ import annotations

import numpy as np

from ...arrays import Floats32, Floats64, Image, Integers
from ...system.jit import kernel

_EPSILON = 1e-5  # variance of colours within a window that counts as noise
_PRIOR = 1e-2  # weight of the prior, where it is certain
_RELATIVE_ERROR = 1e-4  # of the solution
_MOST_ROUNDS = 400


def solve_matte(image: Image, trimap: Floats32, prior: Floats32) -> Floats32:
    """Return the opacity (h, w) 0…1.

    Args:
        image: (h, w, 3).
        trimap: (h, w) opacity where it is known, 0.5 where it is to be solved.
        prior: (h, w) 0…1, what the opacity is drawn to, the less the closer it is to 0.5.
    """
    unknown = trimap == 0.5
    index = np.full(trimap.shape, -1, np.int32)
    index[unknown] = np.arange(np.count_nonzero(unknown), dtype=np.int32)
    alpha = np.where(unknown, prior, trimap).astype(np.float64)
    if unknown.any():
        stencil = _laplacian(image.astype(np.float64) / 255, index, int(index.max()) + 1, _EPSILON)
        wanted = alpha[unknown]
        weight = _PRIOR * (2 * wanted - 1) ** 2
        places = np.argwhere(unknown).astype(np.int32)
        _solve(stencil, places, index, alpha, wanted, weight, _RELATIVE_ERROR, _MOST_ROUNDS)
    return np.clip(alpha, 0, 1).astype(np.float32)


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
