"""Where the person of an image is for certain, where the background, and where the matte is to be solved.

The segmented mask is torn at some places, such as locks over a shoulder or the hem of a skirt. There, the colours of
what is certain decide. Source: docs/method/embedded_renderer.md, Layers.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Flags, Floats32, Image
from ...motion.smoothing import smoothstep

_PERSON, _BACKGROUND = 0.9, 0.1  # of the mask: beyond these it is taken for certain
_INWARD, _OUTWARD = 0.10, 0.18  # IOD, the zone on both sides of the mask's edge that is solved
_EDGE = 0.05  # IOD, half the width of what counts as an edge of the mask; wider, it is torn
_DOUBTED = 0.5  # IOD inside the edge up to which colours of the background raise doubts
_DECIDED = 0.2, 0.8  # shares of the person's colours up to and from which they decide
_LEVELS = 24  # of each of L, a, b in the histograms
_SMOOTHING = 1.2  # of the histograms, levels
_RARE = 1e-5  # share of the pixels per level: colours that neither has tell nothing


def mend_mask(image: Image, mask: Floats32, iod: float) -> tuple[Floats32, Flags]:
    """Return the mask (h, w) with the share 0…1 of the person's colours where it is torn, and where it is in doubt.

    It is in doubt where colours of the background reach into the person: they may also be those of a collar.
    """
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int32) * _LEVELS // 256
    person, background = (_histogram(colours[area]) for area in (mask >= _PERSON, mask <= _BACKGROUND))
    share = (person + _RARE) / (person + background + 2 * _RARE)
    of_person = cv2.blur(share[tuple(np.moveaxis(colours, -1, 0))], (3, 3))
    unsure = (mask > _BACKGROUND) & (mask < _PERSON)
    torn = spread(opened(unsure, _EDGE * iod), _EDGE * iod) & unsure
    near = spread(mask < 0.5, _DOUBTED * iod)
    doubtful = opened((mask >= _PERSON) & (of_person < _BACKGROUND), _EDGE * iod) & near
    # Thin lines within are shades between two colours of the person, such as hair and a white dress.
    closed = cv2.morphologyEx(smoothstep(*_DECIDED, of_person).astype(np.float32), cv2.MORPH_CLOSE, _disc(_EDGE * iod))
    return np.where(torn, closed, mask), doubtful


def opened(area: Flags, radius: float) -> Flags:
    """Return the parts of an area (h, w) that a disc of this radius, px, fits into."""
    fits: Flags = cv2.morphologyEx(area.astype(np.uint8), cv2.MORPH_OPEN, _disc(radius)) > 0
    return fits


def spread(area: Flags, radius: float) -> Flags:
    """Return an area (h, w) with what is at most a radius, px, away from it."""
    around: Flags = cv2.dilate(area.astype(np.uint8), _disc(radius)) > 0
    return around


def _histogram(colours: Image) -> Floats32:
    """Return the smooth share of each colour (n, 3) in levels, (_LEVELS, _LEVELS, _LEVELS)."""
    counts = np.zeros((_LEVELS,) * 3, np.float32)
    np.add.at(counts, tuple(colours.T), np.float32(1 / max(len(colours), 1)))
    for _ in range(3):
        counts = cv2.GaussianBlur(counts.reshape(_LEVELS, -1), (1, 7), 0, None, _SMOOTHING).reshape(counts.shape)
        counts = np.ascontiguousarray(np.moveaxis(counts, 0, -1))
    return counts


def _disc(radius: float) -> Image:
    size = 2 * max(1, round(radius)) + 1
    disc: Image = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return disc


def build_trimap(mask: Floats32, face: Flags, iod: float) -> Floats32:
    """Return 1 for the person with this face, 0 for the background, 0.5 where the matte is to be solved."""

    def shrunk(area: Flags, by: float) -> Flags:
        # Borders of the image do not shrink: the person goes on beyond them.
        eroded: Flags = cv2.erode(area.astype(np.uint8), _disc(by), borderValue=1) > 0
        return eroded

    person = (mask > 0.5) | face
    _, labels = cv2.connectedComponents(person.astype(np.uint8), connectivity=4)
    own = labels == np.bincount(labels[face]).argmax() if face.any() else person
    others = person & ~own
    trimap = np.full(mask.shape, 0.5, np.float32)
    trimap[shrunk((mask > _PERSON) & own, _INWARD * iod) | face] = 1
    trimap[shrunk((mask < _BACKGROUND) | others, _OUTWARD * iod)] = 0
    return trimap
