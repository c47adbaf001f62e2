"""A picture of the curves of videos: sound, mouth, eyes, head and gaze over time, and the offset of mouth and sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..arrays import Flags, Floats, Image
from .blinks import find_blinks
from .envelope import silent_frames
from .tracks import GRID_FPS

if TYPE_CHECKING:
    from .score import VideoScore

_WIDTH, _HEIGHT = 1200, 120  # px of a diagram
_LEFT, _RIGHT, _ABOVE, _BELOW, _HEADING = 70, 40, 22, 22, 40
_INK, _FAINT, _SHADE = (40, 40, 40), (205, 205, 205), (232, 236, 244)
_COLOURS = ((31, 99, 178), (205, 92, 40), (60, 140, 70))
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42
_LONGEST_LINE = 158  # characters that fit
_ASCII = str.maketrans({"−": "-", "–": "-", "…": "...", "°": " deg", "≥": ">=", "≤": "<="})


@dataclass(frozen=True, eq=False)
class _Diagram:
    """Curves over one axis."""

    title: str
    unit: str
    """Of the horizontal axis."""
    x: Floats
    curves: Sequence[tuple[str, Floats]]
    """(name, values) of each, as many as `x`; NaN where there is none."""
    low: float
    """The axis reaches at least from here …"""
    high: float
    """… to here."""
    shade: Flags | None = None
    """Where the background is darker."""
    mark: float | None = None
    """A vertical line."""


def plot_scores(scores: Sequence[VideoScore]) -> Image:
    """Return the diagrams of each video, one video below the other: (H, W, 3) uint8 RGB."""
    return np.concatenate([_plot(score) for score in scores])


def _plot(score: VideoScore) -> Image:
    diagrams = list(_diagrams(score))
    step = _ABOVE + _HEIGHT + _BELOW
    image = np.full((_HEADING + len(diagrams) * step, _WIDTH, 3), 255, np.uint8)
    heading = f"{score.name}: {score.verdict}"
    _write(image, heading if len(heading) <= _LONGEST_LINE else f"{heading[:_LONGEST_LINE]} ...", 10, 24)
    for k, diagram in enumerate(diagrams):
        _draw(image, _HEADING + k * step + _ABOVE, diagram)
    return image


def _diagrams(score: VideoScore) -> Iterator[_Diagram]:
    tracks, envelope, sync = score.tracks, score.curves.envelope, score.curves.sync
    seconds = np.arange(len(tracks)) / GRID_FPS
    silent = None if envelope is None else silent_frames(envelope, GRID_FPS)
    if envelope is not None:
        yield _Diagram("sound, dB (shaded: silence)", "s", seconds, [("", envelope)], -60, 0, silent)
    yield _Diagram("opening of the mouth, IOD", "s", seconds, [("", tracks.aperture)], 0, 0.15, silent)
    openness, blinking = tracks.eyes.mean(axis=1), np.zeros(len(tracks), bool)
    for first, end in find_blinks(openness, GRID_FPS):
        blinking[first:end] = True
    yield _Diagram("openness of the eyes (shaded: blinks)", "s", seconds, [("", openness)], 0, 0.4, blinking)
    angles = list(zip(("pitch", "yaw", "roll"), tracks.rotation_deg.T, strict=True))
    yield _Diagram("head, degrees", "s", seconds, angles, -3, 3)
    gaze = list(zip(("to the right", "up"), tracks.gaze.T, strict=True))
    yield _Diagram("gaze, eye widths", "s", seconds, gaze, -0.1, 0.1)
    if sync is not None:
        title = f"correlation with the mouth that the sound predicts: {round(sync.offset_ms):+d} ms behind the sound"
        yield _Diagram(title, "ms", sync.lags_ms, [("", sync.correlations)], 0, 0.5, mark=sync.offset_ms)


def _draw(image: Image, top: int, diagram: _Diagram) -> None:
    """Draw a diagram whose frame begins `top` px below the image's upper border."""
    finite = [values[np.isfinite(values)] for _, values in diagram.curves]
    low = min([diagram.low, *(float(values.min()) for values in finite if len(values))])
    high = max([diagram.high, *(float(values.max()) for values in finite if len(values))])
    first, last = float(diagram.x[0]), max(float(diagram.x[-1]), float(diagram.x[0]) + 1e-6)

    def column(x: Floats | float) -> Floats:
        return _LEFT + (np.asarray(x) - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def row(y: Floats | float) -> Floats:
        return top + _HEIGHT - (np.asarray(y) - low) / (high - low) * _HEIGHT

    if diagram.shade is not None:
        shaded = np.interp(np.arange(_LEFT, _WIDTH - _RIGHT), column(diagram.x), diagram.shade) > 0.5
        image[top : top + _HEIGHT, _LEFT : _WIDTH - _RIGHT][:, shaded] = _SHADE
    for tick in _ticks(low, high, 3):
        y = round(float(row(tick)))
        cv2.line(image, (_LEFT, y), (_WIDTH - _RIGHT, y), _FAINT)
        _write(image, f"{tick:g}", 8, y + 5)
    for tick in _ticks(first, last, 10):
        x = round(float(column(tick)))
        cv2.line(image, (x, top + _HEIGHT), (x, top + _HEIGHT + 4), _INK)
        _write(image, f"{tick:g}", x - 6, top + _HEIGHT + 17)
    _write(image, diagram.unit, _WIDTH - _RIGHT + 5, top + _HEIGHT + 5)
    cv2.rectangle(image, (_LEFT, top), (_WIDTH - _RIGHT, top + _HEIGHT), _FAINT)
    if diagram.mark is not None:
        x = round(float(column(diagram.mark)))
        cv2.line(image, (x, top), (x, top + _HEIGHT), _COLOURS[1])
    _write(image, diagram.title, _LEFT, top - 7)
    for k, (name, values) in enumerate(diagram.curves):
        _write(image, name, _WIDTH - _RIGHT - 120 * (len(diagram.curves) - k), top - 7, _COLOURS[k])
        points = np.column_stack([column(diagram.x), row(values)])
        known = np.isfinite(points[:, 1])
        for part in np.split(np.arange(len(points)), np.flatnonzero(np.diff(known)) + 1):
            if known[part[0]]:
                line = np.rint(points[part] * 16).astype(np.int32)
                cv2.polylines(image, [line], False, _COLOURS[k], 1, cv2.LINE_AA, shift=4)


def _ticks(low: float, high: float, most: int) -> Floats:
    """Return round values from `low` to `high`, about `most` of them."""
    step = (high - low) / most
    scale = 10.0 ** np.floor(np.log10(step))
    step = scale * next(factor for factor in (1, 2, 5, 10) if factor * scale >= step * 0.999)
    ticks: Floats = np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1) * step
    return ticks + 0.0  # no negative zero


def _write(image: Image, text: str, x: int, y: int, colour: tuple[int, int, int] = _INK) -> None:
    """Write a line; OpenCV's fonts have ASCII only."""
    plain = text.translate(_ASCII).encode("ascii", "replace").decode()
    cv2.putText(image, plain, (x, y), _FONT, _SIZE, colour, 1, cv2.LINE_AA)
