"""Divide a picture with several faces into parts, each with one of them.

Lines between the heads divide it again and again, until every part has one face. A renderer draws a part as a picture
of its own, whose motion fades out towards the part's borders; the parts side by side are the picture again.
Source: docs/method/speakers.md, Parts of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Floats, Floats64
from ..media.footage import Footage
from .tracked import TrackedFace, TrackedSource

Window = tuple[int, int, int, int]
"""left, top, right, bottom, px."""

_HEAD = np.array([0.35, 0.55, 0.35, 0.15])  # left, top, right, bottom: what the head adds, in sizes of the face

_LIPS = (0, 17, 61, 291)  # upper, lower, corners
_CLEAR = 0.3  # IOD: ears and hair go beyond the outline of a face


def divide_picture(faces: Sequence[TrackedFace], size: tuple[int, int]) -> list[Window]:
    """Return the part of a picture (width, height) that belongs to each face; together they cover it."""
    windows: list[Window] = [(0, 0, 0, 0)] * len(faces)
    boxes = np.array([_face_box(face) for face in faces])
    _divide(list(range(len(faces))), (0, 0, *size), boxes, windows)
    return windows


def is_mouth_inside(face: TrackedFace, window: Window, size: tuple[int, int]) -> bool:
    """Return whether the lips are inside a part of a picture (width, height), clear of the lines that divide it.

    Where they are not, another head is in front of them.
    """
    lips = face.landmarks[list(_LIPS), :2]
    margin = _CLEAR * face.pose.iod
    low = np.where(np.array(window[:2]) > 0, np.array(window[:2]) + margin, -np.inf)
    high = np.where(np.array(window[2:]) < np.array(size), np.array(window[2:]) - margin, np.inf)
    return bool((lips >= low).all() and (lips <= high).all())


def cut_out(source: TrackedSource, window: Window) -> TrackedSource:
    """Return a part of a still as a still of its own."""
    left, top, right, bottom = window
    footage = source.footage
    part = np.s_[top:bottom, left:right]
    opacity = None if footage.opacity is None else np.ascontiguousarray(footage.opacity[part])
    picture = Footage.from_array(footage.name, np.ascontiguousarray(footage[0][part]), opacity)
    corner = np.array([left, top, 0], np.float32)
    return TrackedSource(picture, tuple(TrackedFace(face.landmarks - corner) for face in source.faces))


def _face_box(face: TrackedFace) -> Floats64:
    xy = face.landmarks[:, :2].astype(np.float64)
    return np.concatenate([xy.min(axis=0), xy.max(axis=0)])


def _head_boxes(boxes: Floats) -> Floats64:
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    heads: Floats64 = boxes + side * _HEAD * (-1, -1, 1, 1)
    return heads


def _divide(faces: list[int], window: Window, boxes: Floats64, windows: list[Window]) -> None:
    if len(faces) == 1:
        windows[faces[0]] = window
        return
    first, second, axis, at = _best_line(faces, boxes)
    # A pixel for each face at least, wherever the landmarks are.
    middle = int(np.clip(round(at), window[axis] + len(first), window[axis + 2] - len(second)))
    before, after = list(window), list(window)
    before[axis + 2] = after[axis] = middle
    _divide(first, (before[0], before[1], before[2], before[3]), boxes, windows)
    _divide(second, (after[0], after[1], after[2], after[3]), boxes, windows)


def _best_line(faces: list[int], boxes: Floats64) -> tuple[list[int], list[int], int, float]:
    """Return the faces on both sides of the line with the most room, its axis (0: x) and its place."""
    heads = _head_boxes(boxes)
    best: tuple[float, list[int], list[int], int, float] | None = None
    for axis in (0, 1):
        ordered = sorted(faces, key=lambda k: boxes[k, axis] + boxes[k, axis + 2])
        for split in range(1, len(ordered)):
            first, second = ordered[:split], ordered[split:]
            low, high = heads[first, axis + 2].max(), heads[second, axis].min()
            sizes = [float((boxes[group, 3] - boxes[group, 1]).max()) for group in (first, second)]
            room = (high - low) / max(sizes)
            if best is None or room > best[0]:
                best = room, first, second, axis, _place_line(boxes, heads, first, second, axis, sizes)
    assert best is not None  # there are two faces
    return best[1:]


def _place_line(
    boxes: Floats64, heads: Floats64, first: list[int], second: list[int], axis: int, sizes: list[float]
) -> float:
    """Return where the line runs: between the heads, or else the faces; where these overlap, beside the nearer one."""
    for outlines in (heads, boxes):
        low, high = outlines[first, axis + 2].max(), outlines[second, axis].min()
        if low <= high:
            return float(low + (high - low) * sizes[0] / sum(sizes))
    nearer_is_first = sizes[0] >= sizes[1]  # the larger face is taken for the nearer one
    return float(low if nearer_is_first else high)
