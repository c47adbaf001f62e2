"""Natural blinks: shape, rate, spacing, pauses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import percentile_filter

from liveportrait_talker.motion import natural_blinks

MEASURED_FPS = 25.0


def measured_blinks(closure: np.ndarray, fps: float) -> list[tuple[int, int]]:
    """Blinks as docs/method/measurements.md counts them, on eyes with an open ratio of 0.35, at 25 fps."""
    seconds = np.arange(len(closure)) / fps
    grid = np.arange(max(1, round(len(closure) / fps * MEASURED_FPS))) / MEASURED_FPS
    eye = np.interp(grid, seconds, 0.35 * (1 - closure.mean(axis=1)))
    top = percentile_filter(eye, 75, size=int(2 * MEASURED_FPS) | 1, mode="nearest")
    edges = np.flatnonzero(np.diff(np.r_[0, (eye < 0.65 * top).astype(int), 0]))
    joined: list[list[int]] = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        if joined and a - joined[-1][1] <= 0.08 * MEASURED_FPS:
            joined[-1][1] = b
        else:
            joined.append([a, b])
    return [
        (a, b)
        for a, b in joined
        if a > 0 and b < len(eye) and 1 <= b - a <= 12.5 and (top[a:b] - eye[a:b]).max() >= 0.06
    ]


@given(st.integers(0, 1500), st.floats(10, 60), st.integers(0, 2**32 - 1), st.floats(0, 60), st.booleans())
@settings(max_examples=150, deadline=None)
def test_natural_blinks_at_any_length_and_rate(frames, fps, seed, rate, masked):
    speaking = np.random.default_rng(seed).uniform(size=frames) if masked else None
    rng = np.random.default_rng(seed)
    closure = natural_blinks(frames, fps, rng, speaking=speaking, rate_per_minute=rate)
    assert closure.shape == (frames, 2)
    assert ((closure >= 0) & (closure <= 1)).all()
    np.testing.assert_array_equal(closure[:, 0], closure[:, 1])
    seconds = np.arange(frames) / fps
    margin = (seconds < 0.5) | (seconds > (frames - 1) / fps - 0.5)
    assert not closure[margin].any()
    if rate > 0 and frames / fps >= 4:
        assert closure.max() == 1.0
    shut = np.flatnonzero(np.diff(np.r_[0, closure[:, 0] == 1.0, 0].astype(int)) == 1)
    assert (np.diff(shut) >= 1.1 * fps).all()
    if rate == 0:
        assert not closure.any()


@pytest.mark.parametrize("fps", [10, 12, 23.976, 25, 30, 50, 60])
@pytest.mark.parametrize("seconds", [10, 11.9, 17.3, 60])
def test_every_clip_has_a_human_blink_rate(fps, seconds):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        speaking = np.repeat(rng.uniform(size=200), 20)[: round(seconds * fps)] if seed % 2 else None
        closure = natural_blinks(round(seconds * fps), fps, rng, speaking=speaking)
        found = measured_blinks(closure, fps)
        assert 15 <= len(found) * 60 / seconds <= 30, seed
        assert len(found) == np.sum(np.diff(np.r_[0, closure[:, 0] == 1.0]) == 1)  # each blink is counted once
        lengths = np.array([b - a for a, b in found]) / MEASURED_FPS
        assert (lengths >= 0.08 - 1e-9).all() and (lengths <= 0.25).all()


def test_gaps_vary_around_the_mean():
    closure = natural_blinks(25 * 600, 25, np.random.default_rng(0))
    peaks = np.flatnonzero(np.diff(np.r_[0, closure[:, 0] == 1.0]) == 1)
    gaps = np.diff(peaks) / 25
    assert 18 <= len(peaks) / 10 <= 22
    assert gaps.min() >= 1.1
    assert 0.2 < gaps.std() / gaps.mean() < 0.6


def test_lids_shut_faster_than_they_open():
    closure = natural_blinks(25 * 10, 25, np.random.default_rng(0))[:, 0]
    peak = int(np.argmax(closure))
    shut = closure[peak - 4 : peak + 7]
    assert np.sum(shut[:4] > 0) <= 2
    assert np.sum(shut[5:] > 0) >= 3
    falling = shut[5:]
    assert (np.diff(falling) <= 0).all()


def test_blinks_prefer_pauses():
    """Speech of 2.4 s and pauses of 0.6 s: without preference, a fifth of the blinks would fall into a pause."""
    speaking = np.tile(np.r_[np.ones(60), np.zeros(15)], 40)
    hits = []
    for seed in range(20):
        closure = natural_blinks(len(speaking), 25, np.random.default_rng(seed), speaking=speaking)
        hits.append(np.mean(speaking[closure[:, 0] == 1.0] == 0))
    assert np.mean(hits) > 0.45


@pytest.mark.parametrize("wrong", [{"fps": 0}, {"rate_per_minute": -1}, {"speaking": np.zeros(3)}])
def test_wrong_arguments_are_refused(wrong):
    arguments = {"frames": 100, "fps": 25, "rng": np.random.default_rng(0)} | wrong
    with pytest.raises(ValueError):
        natural_blinks(**arguments)


def test_blinks_stay_where_no_pause_is_near():
    """With constant speech, no frame is quieter: the nearest one is the blink's own."""
    alone, speaking = (natural_blinks(1500, 25, np.random.default_rng(3), speaking=s) for s in (None, np.ones(1500)))
    np.testing.assert_array_equal(alone, speaking)
