"""Openings of eyes that are larger than their landmarks, as those of drawn eyes are.

Source: docs/method/embedded_renderer.md, Lids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ...arrays import Flags, Floats, Image

_SIZE = 200.0  # px per IOD of the upright patch in which eyes are looked at
_MARGIN = 0.22  # IOD around the landmarks
_REACH = 0.09  # IOD by which an opening can be larger than its landmarks
_DARK_REACH = 0.04  # IOD, where it is as dark as lashes
_CERTAIN = 0.03  # IOD within the landmarks, where all is eyeball
_DARK = 0.6  # of the usual light around the eye
_LARGER = 0.10  # share of its area by which an opening has to be larger
_CONTRAST = 18.0  # CIELAB; a border that changes less is a shade
_POINTS = 33  # of a lid


class Lids(NamedTuple):
    """The edges of an eye's lids, (n, 2), px, left to right in the image."""

    upper: Floats
    lower: Floats


def widen_lids(image: Image, eyes: Sequence[Lids], iod: float) -> list[Lids]:
    """Return the lids of both eyes, moved out to where the image (h, w, 3) shows the eyeballs.

    They are returned unchanged unless both openings are larger than they are, with a clear border.
    """
    found = [_widen(image, lids, iod) for lids in eyes]
    widened = [lids for lids, _ in found if lids is not None]
    is_clear = len(widened) == len(eyes) and np.mean([contrast for _, contrast in found]) > _CONTRAST
    return widened if is_clear else list(eyes)


def _widen(image: Image, lids: Lids, iod: float) -> tuple[Lids | None, float]:
    """Return the lids moved out, None where the opening is as large as they are, and the contrast of its border."""
    to_patch, (width, height) = _upright(lids.upper, iod)
    patch = cv2.warpAffine(image, to_patch, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    outline = np.concatenate([lids.upper, lids.lower[::-1]]) @ to_patch[:, :2].T + to_patch[:, 2]
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], 1)
    away, within = (cv2.distanceTransform(part, cv2.DIST_L2, 5) / _SIZE for part in (1 - inside, inside))
    if within.max() <= _CERTAIN:
        return None, 0.0
    eyeball, luma = _find_eyeball(patch, away, within), patch.mean(axis=-1)
    bright = luma > _DARK * np.median(luma[away > _REACH])
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    seen = cv2.morphologyEx(_connected(eyeball & bright, inside > 0).astype(np.uint8), cv2.MORPH_OPEN, disc) | inside
    if seen.sum() < (1 + _LARGER) * inside.sum():
        return None, 0.0
    seen |= _connected(eyeball & (away < _DARK_REACH), inside > 0)
    hull = cv2.convexHull(np.argwhere(cv2.morphologyEx(seen, cv2.MORPH_OPEN, disc))[:, ::-1].astype(np.int32))
    cv2.fillConvexPoly(seen, hull, 1)
    columns = np.flatnonzero(seen.any(axis=0))
    top = np.argmax(seen[:, columns], axis=0).astype(np.float64)
    bottom = height - 1.0 - np.argmax(seen[::-1, columns], axis=0)
    x = np.linspace(columns[0], columns[-1], _POINTS)
    from_patch = cv2.invertAffineTransform(to_patch)
    edges = []
    for edge in (top, bottom):
        y = np.interp(x, columns, edge)
        y[[0, -1]] = [0.5 * (top[k] + bottom[k]) for k in (0, -1)]  # the lids join at the corners
        edges.append(np.stack([x, y], axis=1) @ from_patch[:, :2].T + from_patch[:, 2])
    return Lids(*edges), _contrast(patch, seen > 0, away)


def _upright(upper: Floats, iod: float) -> tuple[Floats, tuple[int, int]]:
    """Return the (2, 3) transform to a patch in which the eye's corners lie level, and its width and height."""
    along, scale = upper[-1] - upper[0], _SIZE / iod
    width = float(np.linalg.norm(along))
    cos, sin = scale * along / max(width, 1e-6)
    to_patch = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    middle = 0.5 * (upper[0] + upper[-1])
    size = round(width * scale + 2 * _MARGIN * _SIZE), round(3 * _MARGIN * _SIZE)
    to_patch[:, 2] = 0.5 * np.array(size) - to_patch[:, :2] @ middle
    return to_patch, size


def _find_eyeball(patch: Image, away: Floats, within: Floats) -> Flags:
    """Return the mask (h, w) of the eyeball, and of lashes of its colour, by GrabCut in CIELAB."""
    labels = np.full(away.shape, cv2.GC_BGD, np.uint8)
    labels[away < _REACH] = cv2.GC_PR_BGD
    labels[within > 0] = cv2.GC_PR_FGD
    labels[within > _CERTAIN] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # k-means starts at random
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(cv2.cvtColor(patch, cv2.COLOR_RGB2LAB), labels, None, *colours, 3, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def _contrast(patch: Image, seen: Flags, away: Floats) -> float:
    """Return how much the colours (CIELAB) change within 0.02 IOD of the border of the part outside the landmarks."""
    size = 0.02 * _SIZE
    lab = cv2.GaussianBlur(cv2.cvtColor((patch / 255).astype(np.float32), cv2.COLOR_RGB2LAB), (0, 0), 0.5 * size)
    steps = np.stack([cv2.Sobel(lab, cv2.CV_32F, i, 1 - i, ksize=3, scale=size / 8) for i in (0, 1)])
    border = seen & ~(cv2.erode(seen.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & (away > 0.01)
    return float(np.median(np.sqrt((steps[:, border] ** 2).sum(axis=(0, 2))))) if border.any() else 0.0


def _connected(part: Flags, seed: Flags) -> Flags:
    """Return the pieces of `part` (h, w) that touch `seed`, and `seed`."""
    _, pieces = cv2.connectedComponents((part | seed).astype(np.uint8))
    return np.asarray(np.bincount(pieces[seed], minlength=int(pieces.max()) + 1)[pieces] > 0)
