"""The top of a head that the image's upper border cuts off, continued so that the head can move down."""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Floats, Image

_HEIGHT = 0.6  # IOD above the image
_MEASURED = 0.35  # IOD below the border, of the outline that is continued
_LEAST_SHOWN = 0.12  # IOD of the person above the face; what is nearer to the border is a forehead, not hair
_MIRRORED = 0.6  # of the part above the face
_STEEPEST = 1.0  # of the middle of the head, px per px


def continue_crown(person: Image, oval: Floats, iod: float) -> Image:
    """Return the rows (n, W, 4) above the image, colours and opacity; none where the head does not touch the border.

    The outline is that of a rounded cap: the square of the half width changes linearly. The colours are those of
    the rows below, mirrored.

    Args:
        person: (H, W, 4) colours and opacity.
        oval: (36, 2) landmarks of the face oval, px.
        iod: px.
    """
    height, width = person.shape[:2]
    above_face = float(oval[:, 1].min())
    measured = np.arange(min(round(_MEASURED * iod), height))
    runs = [_run(person[y, :, 3], float(oval[:, 0].mean())) for y in measured]
    if above_face < _LEAST_SHOWN * iod or not runs or any(run is None for run in runs):
        return np.empty((0, width, 4), np.uint8)
    left, right = np.array(runs, float).T
    half_below, middle_below = 0.5 * (right - left) + 0.5, 0.5 * (right + left)
    slope, lean = (np.polyfit(measured, values, 1)[0] for values in (half_below**2, middle_below))
    rows = np.arange(-round(_HEIGHT * iod), 0)
    half = np.sqrt(np.maximum(half_below[0] ** 2 + slope * rows, 0))[:, None]
    offset = np.arange(width) - (middle_below[0] + np.clip(lean, -_STEEPEST, _STEEPEST) * rows)[:, None]
    inside = np.clip(half - np.abs(offset) + 0.5, 0, 1) * (half > 0)
    # Strands converge as the outline does.
    source = np.clip(-1 - rows, 0, min(max(round(_MIRRORED * above_face), 1), len(measured)) - 1)
    x = middle_below[source, None] + np.clip(offset / np.maximum(half, 1), -1, 1) * (half_below[source, None] - 1)
    y = np.broadcast_to(source[:, None], x.shape)
    colours = cv2.remap(person[..., :3], x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    return np.dstack([colours, np.rint(255 * cv2.GaussianBlur(inside, (0, 0), 1.0)).astype(np.uint8)])


def _run(opacity: Image, middle: float) -> tuple[int, int] | None:
    """Return first and last opaque pixel of a row (W,) around `middle`, or None where the head is not at the border."""
    opaque = opacity > 127
    at = int(np.clip(middle, 0, len(opaque) - 1))
    if not opaque[at]:
        return None
    before, after = np.flatnonzero(~opaque[:at]), np.flatnonzero(~opaque[at:])
    if not len(before) or not len(after):
        return None  # the person fills the row
    return int(before[-1]) + 1, at + int(after[0]) - 1
