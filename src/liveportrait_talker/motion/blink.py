"""Natural blinks.

A closure is 0 with the eyes as in the source and 1 with the lids shut. Both columns are equal: people blink with both
eyes. Source: docs/method/motion.md, Blinks.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Floats64, Integers
from .random_intervals import draw_interval, draw_intervals

BLINKS_PER_MINUTE = 20.0  # people blink 17 times at rest, 26 times while talking

_MARGIN_S = 0.5  # without blinks at the start and end of a clip
_CLOSING_S = (0.066, 0.080)
_HOLD_S = (0.010, 0.040)
_TAIL_S = (0.062, 0.076)  # time constant of the opening
_TAILS = 3.0  # time constants after which the opening ends
_OPENING_S = _HOLD_S[1] + _TAILS * _TAIL_S[1]  # longest time from shut to open
_APART_S = 1.1  # shortest time between peaks: 0.8 s of open eyes
_ALWAYS_ONE_S = 4.0  # clips from this length have at least one blink
_LEAST_SHARE = 0.75  # smallest share of the expected number of blinks
_SEARCH_S = 0.7  # largest move of a blink towards a pause
_RATE_LISTENING, _RATE_SPEAKING = 0.8, 1.1  # of a live face, relative to the mean rate


def natural_blinks(
    frames: int,
    fps: float,
    rng: np.random.Generator,
    *,
    speaking: Floats | None = None,
    rate_per_minute: float = BLINKS_PER_MINUTE,
) -> Floats64:
    """Return the closure (frames, 2), 0…1, of human blinks: fast to shut, slow to open, unevenly spaced.

    Each blink is fully shut on at least one frame at any frame rate. Clips from 4 s have at least one blink.

    Args:
        frames: length of the clip.
        fps: frames per second.
        rng: generator of times and shapes.
        speaking: (frames,) 0…1, from `audio.loudness`; blinks move to pauses near by.
        rate_per_minute: mean number of blinks per minute.

    Raises:
        ValueError: `fps` is not positive, the rate is negative or `speaking` has another length.
    """
    if not fps > 0 or rate_per_minute < 0:
        raise ValueError(f"need fps > 0 and a rate ≥ 0, got {fps} and {rate_per_minute}")
    if speaking is not None and len(speaking) != frames:
        raise ValueError(f"speaking has {len(speaking)} frames, the clip {frames}")
    peaks = _draw_peaks(frames, fps, rng, rate_per_minute)
    if speaking is not None:
        peaks = _move_to_pauses(peaks, np.asarray(speaking, dtype=np.float64), fps)

    closure = np.zeros(frames)
    reach = _reach(fps)
    for peak, course in zip(peaks, _draw_courses(len(peaks), fps, rng), strict=True):
        at = peak + reach
        inside = (at >= 0) & (at < frames)  # outside, the closure is zero up to rounding
        closure[at[inside]] = np.maximum(closure[at[inside]], course[inside])
    return np.stack([closure, closure], axis=1)


class LiveBlinks:
    """The same blinks one frame after another, without end: fewer while listening, in pauses while speaking."""

    def __init__(self, fps: float, rng: np.random.Generator, *, rate_per_minute: float = BLINKS_PER_MINUTE) -> None:
        self._fps, self._rng, self._rate = fps, rng, rate_per_minute
        self._course: Floats64 = np.zeros(0)  # the rest of the blink that is going on
        self._left_s = self._draw_gap()

    def step(self, speaking: float) -> float:
        """Return the closure of the next frame, 0…1; `speaking` 0…1."""
        share = _RATE_LISTENING + (_RATE_SPEAKING - _RATE_LISTENING) * speaking
        self._left_s -= share / self._fps
        if self._left_s <= -_SEARCH_S * speaking:
            self._course = _draw_courses(1, self._fps, self._rng)[0]
            self._left_s += self._draw_gap()
        if not len(self._course):
            return 0.0
        closure, self._course = float(self._course[0]), self._course[1:]
        return closure

    def _draw_gap(self) -> float:
        if self._rate <= 0:
            return float(np.inf)
        return _APART_S + draw_interval(max(60 / self._rate - _APART_S, 0.0), self._rng)


def _reach(fps: float) -> Integers:
    """Return the frames of a blink, relative to its peak."""
    return np.arange(-int(np.ceil(_CLOSING_S[1] * fps)), int(np.ceil(_OPENING_S * fps)) + 1)


def _draw_courses(count: int, fps: float, rng: np.random.Generator) -> list[Floats64]:
    """Return the closure in the frames of `count` blinks: the peak lies on a frame, which shows the eyes shut."""
    closing, hold, tail = (rng.uniform(*span, count) for span in (_CLOSING_S, _HOLD_S, _TAIL_S))
    seconds = _reach(fps) / fps
    courses = []
    for i in range(count):
        down = np.sin(np.pi / 2 * np.clip(1.0 + seconds / closing[i], 0.0, 1.0))
        late = np.clip((seconds - hold[i]) / tail[i], 0.0, _TAILS)
        up = (np.exp(-late) - np.exp(-_TAILS)) / (1.0 - np.exp(-_TAILS))
        courses.append(np.where(seconds < 0, down, up))
    return courses


def _peak_range(frames: int, fps: float) -> tuple[int, int]:
    """Return the first and last frame of a peak for which the blink stays out of the margins."""
    first = int(np.ceil((_MARGIN_S + _CLOSING_S[1]) * fps))
    last = int(np.floor(frames - 1 - (_MARGIN_S + _OPENING_S) * fps))
    return first, last


def _draw_peaks(frames: int, fps: float, rng: np.random.Generator, rate_per_minute: float) -> Integers:
    """Return the frames at which the lids are shut, ascending."""
    first, last = _peak_range(frames, fps)
    apart = int(np.ceil(_APART_S * fps))
    wanted = frames / fps * rate_per_minute / 60
    # Vary by a tenth only: over 10 s, one blink more is already 6 per minute.
    count = round(wanted + rng.uniform(-1.0, 1.0) * max(0.3, 0.1 * wanted))
    # In clips of a few seconds, rounding down would halve the rate.
    count = max(count, int(np.ceil(_LEAST_SHARE * wanted - 1e-9)))
    if rate_per_minute > 0 and frames / fps >= _ALWAYS_ONE_S:
        count = max(count, 1)
    if last < first:
        return np.zeros(0, dtype=np.int64)
    count = min(count, (last - first) // apart + 1)
    if count < 1:
        return np.zeros(0, dtype=np.int64)
    slack = last - first - (count - 1) * apart
    gaps = draw_intervals(slack, count + 1, rng)[:-1]
    return np.asarray(first + np.cumsum(gaps) + apart * np.arange(count))


def _move_to_pauses(peaks: Integers, speaking: Floats64, fps: float) -> Integers:
    """Move each peak to the quietest frame near it, preferring near frames, without changing order or distance."""
    reach, apart = int(_SEARCH_S * fps), int(np.ceil(_APART_S * fps))
    first, last = _peak_range(len(speaking), fps)
    moved = peaks.copy()
    for i, peak in enumerate(peaks):
        low = max(first, peak - reach, moved[i - 1] + apart if i else 0)
        high = min(last - (len(peaks) - 1 - i) * apart, peak + reach)
        near = np.arange(low, high + 1)
        moved[i] = near[np.argmin(speaking[near] + 0.3 * np.abs(near - peak) / max(reach, 1))]
    return moved
