"""Blinks: the default natural ones, and the original's for comparison.

A closure is 0 with the eyes as in the source, 1 with the lids shut, in two equal columns: people blink with
both eyes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Floats64
from .rhythm import log_normal_parts

BLINKS_PER_MINUTE = 20.0  # between people at rest (17) and talking (26)

_MARGIN_S = 0.5  # no lid moves at the very start or end of a clip
_CLOSING_S = (0.066, 0.080)
_HOLD_S = (0.010, 0.040)
_TAIL_S = (0.062, 0.076)  # time constant of the opening
_TAILS = 3.0  # the opening is cut, and brought to zero, after so many time constants
_OPENING_S = _HOLD_S[1] + _TAILS * _TAIL_S[1]  # from shut to open, at most
_APART_S = 1.1  # from peak to peak: 0.8 s of open eyes between two blinks
_ALWAYS_ONE_S = 4.0  # a clip of this length without a blink looks like a photo
_LEAST_SHARE = 0.75  # of the rate, whatever the clip's length
_SEARCH_S = 0.7  # how far a blink may move to meet a pause

LIVEPORTRAIT_CLOSURE = (0.0, 0.5, 1.0, 0.5, 0.0)
"""The original's blink as LivePortrait is told of it: open ratio = source's ratio · (1 − closure)."""
SADTALKER_CLOSURE = (0.5, 0.9, 1.0, 0.9, 0.5)
"""The same blink as SadTalker's expression net is told of it."""
_CLASSIC_FPS = 25.0


def natural_blinks(
    frames: int,
    fps: float,
    rng: np.random.Generator,
    *,
    speaking: Floats | None = None,
    rate_per_minute: float = BLINKS_PER_MINUTE,
) -> Floats64:
    """Closure (frames, 2) float64, 0…1, of human blinks: fast to shut, slow to open, unevenly spaced.

    Every blink is fully shut on at least one frame, whatever the frame rate. The number of blinks follows the
    clip's length, so that short clips have their share. With `speaking` (frames,) 0…1, as `audio.speaking` makes
    it, blinks move to a pause near by. Clips from 4 s always have one. Source: field notes §5.

    Raises:
        ValueError: `fps` is not positive, the rate is negative or `speaking` has another length.
    """
    if not fps > 0 or rate_per_minute < 0:
        raise ValueError(f"need fps > 0 and a rate ≥ 0, got {fps} and {rate_per_minute}")
    if speaking is not None and len(speaking) != frames:
        raise ValueError(f"speaking has {len(speaking)} frames, the clip {frames}")
    peaks = _peaks(frames, fps, rng, rate_per_minute)
    if speaking is not None:
        peaks = _towards_pauses(peaks, np.asarray(speaking, dtype=np.float64), fps)

    closure = np.zeros(frames)
    closing, hold, tail = (rng.uniform(*span, len(peaks)) for span in (_CLOSING_S, _HOLD_S, _TAIL_S))
    reach = np.arange(-int(np.ceil(_CLOSING_S[1] * fps)), int(np.ceil(_OPENING_S * fps)) + 1)
    seconds = reach / fps
    for i, peak in enumerate(peaks):
        # The grid is laid through the moment of closure, so that a frame shows it.
        down = np.sin(np.pi / 2 * np.clip(1.0 + seconds / closing[i], 0.0, 1.0))
        late = np.clip((seconds - hold[i]) / tail[i], 0.0, _TAILS)
        up = (np.exp(-late) - np.exp(-_TAILS)) / (1.0 - np.exp(-_TAILS))
        at = peak + reach
        inside = (at >= 0) & (at < frames)  # what falls outside is zero by the margins, but for rounding
        closure[at[inside]] = np.maximum(closure[at[inside]], np.where(reach < 0, down, up)[inside])
    return np.stack([closure, closure], axis=1)


def classic_blink_starts(frames: int, rng: np.random.Generator) -> list[int]:
    """First frames of the original's five-frame blinks in a clip of `frames` at 25 fps (spec talker.md §9).

    Gaps are uniform; one whose range is empty (frames = 21, defect 19) takes the range's lower end. Clips of
    up to 20 frames have no blink.
    """
    starts: list[int] = []
    at = 0
    while frames > 20:
        low, high = min(10, frames), min(frames // 2, 70)
        at += int(rng.integers(low, max(high, low + 1)))
        if at + 5 > frames - 1:
            break
        starts.append(at)
        at += 5
    return starts


def classic_blinks(
    frames: int, fps: float, rng: np.random.Generator, *, shape: tuple[float, ...] = LIVEPORTRAIT_CLOSURE
) -> Floats64:
    """Closure (frames, 2) float64, 0…1, of the original's blinks: 34 a minute, symmetric, always complete.

    The original counts frames as if there were 25 a second; other rates keep its times (defect 32), with the
    closed moment on the nearest frame.
    """
    closure = np.zeros(frames)
    for start in classic_blink_starts(round(frames * _CLASSIC_FPS / fps), rng):
        peak = round((start + 2) * fps / _CLASSIC_FPS)
        offset = (np.arange(frames) - peak) * _CLASSIC_FPS / fps
        closure = np.maximum(closure, np.interp(offset, np.arange(-2, 3), shape, left=0.0, right=0.0))
    return np.stack([closure, closure], axis=1)


def _room(frames: int, fps: float) -> tuple[int, int]:
    """First and last frame at which lids may be shut, so that no blink reaches into the margins."""
    first = int(np.ceil((_MARGIN_S + _CLOSING_S[1]) * fps))
    last = int(np.floor(frames - 1 - (_MARGIN_S + _OPENING_S) * fps))
    return first, last


def _peaks(frames: int, fps: float, rng: np.random.Generator, rate_per_minute: float) -> npt.NDArray[np.int64]:
    """Frames at which the lids are shut, in order."""
    first, last = _room(frames, fps)
    apart = int(np.ceil(_APART_S * fps))
    wanted = frames / fps * rate_per_minute / 60
    # A tenth more or less by chance; not much, as over 10 s one blink is already 6 a minute.
    count = round(wanted + rng.uniform(-1.0, 1.0) * max(0.3, 0.1 * wanted))
    # In a clip of a few seconds rounding down would halve the rate.
    count = max(count, int(np.ceil(_LEAST_SHARE * wanted - 1e-9)))
    if rate_per_minute > 0 and frames / fps >= _ALWAYS_ONE_S:
        count = max(count, 1)
    if last < first:
        return np.zeros(0, dtype=np.int64)
    count = min(count, (last - first) // apart + 1)
    if count < 1:
        return np.zeros(0, dtype=np.int64)
    slack = last - first - (count - 1) * apart
    gaps = log_normal_parts(slack, count + 1, rng)[:-1]
    peaks: npt.NDArray[np.int64] = first + np.cumsum(gaps) + apart * np.arange(count)
    return peaks


def _towards_pauses(peaks: npt.NDArray[np.int64], speaking: Floats64, fps: float) -> npt.NDArray[np.int64]:
    """Move every peak to the quietest frame near it, the nearer the better, keeping order and distance."""
    reach, apart = int(_SEARCH_S * fps), int(np.ceil(_APART_S * fps))
    first, last = _room(len(speaking), fps)
    moved = peaks.copy()
    for i, peak in enumerate(peaks):
        low = max(first, peak - reach, moved[i - 1] + apart if i else 0)
        high = min(last - (len(peaks) - 1 - i) * apart, peak + reach)
        near = np.arange(low, high + 1)
        moved[i] = near[np.argmin(speaking[near] + 0.3 * np.abs(near - peak) / max(reach, 1))]
    return moved
