import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import percentile_filter

from liveportrait_talker.motion import classic_blinks, natural_blinks
from liveportrait_talker.motion.blink import LIVEPORTRAIT_CLOSURE, SADTALKER_CLOSURE, classic_blink_starts

METER_FPS = 25.0


def measured_blinks(closure: np.ndarray, fps: float) -> list[tuple[int, int]]:
    """The meter's rule (tools/sync_score.py) on eyes that are 0.35 open, seen on its 25 fps grid."""
    seconds = np.arange(len(closure)) / fps
    grid = np.arange(max(1, round(len(closure) / fps * METER_FPS))) / METER_FPS
    eye = np.interp(grid, seconds, 0.35 * (1 - closure.mean(axis=1)))
    top = percentile_filter(eye, 75, size=int(2 * METER_FPS) | 1, mode="nearest")
    edges = np.flatnonzero(np.diff(np.r_[0, (eye < 0.65 * top).astype(int), 0]))
    joined: list[list[int]] = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        if joined and a - joined[-1][1] <= 0.08 * METER_FPS:
            joined[-1][1] = b
        else:
            joined.append([a, b])
    return [
        (a, b)
        for a, b in joined
        if a > 0 and b < len(eye) and 1 <= b - a <= 12.5 and (top[a:b] - eye[a:b]).max() >= 0.06
    ]


class Recorded:
    """Hands out the draws the original made, and checks that each is asked for over the same range."""

    def __init__(self, draws, ranges):
        self.left = list(zip(draws, ranges, strict=True))

    def integers(self, low, high):
        draw, span = self.left.pop(0)
        assert (low, high) == tuple(span)
        return draw


def test_classic_goldens(golden):
    g = golden("talker_blink")
    left, right = g["left_right_open"]
    for n in sorted({key.split(".")[0] for key in g if key.endswith(".draws")}):
        frames = len(g[f"{n}.sadtalker_ratio"])

        def track(shape, n=n, frames=frames):
            rng = Recorded(g[f"{n}.draws"], g[f"{n}.draw_range"])
            closure = classic_blinks(frames, 25.0, rng, shape=shape)  # type: ignore[arg-type]
            assert not rng.left, "the original drew more often"
            return closure

        ratio = g[f"{n}.liveportrait_ratio"]
        ours = (1 - track(LIVEPORTRAIT_CLOSURE)) * (left, right)  # the right eye by its own ratio (defect 24)
        np.testing.assert_allclose(ours, ratio[:, [0, -1]] if ratio.shape[1] == 2 else ratio[:, [0, 2]], atol=1e-7)
        np.testing.assert_allclose(track(SADTALKER_CLOSURE)[:, :1], g[f"{n}.sadtalker_ratio"], atol=1e-7)


@pytest.mark.parametrize("frames", [0, 1, 12, 20, 21, 22, 23, 100])
def test_classic_works_at_every_length_with_one_shape(frames):
    """Defects 19 and 20: no crash at 21 frames, always two columns."""
    closure = classic_blinks(frames, 25, np.random.default_rng(0))
    assert closure.shape == (frames, 2)
    assert closure.any() == (frames >= 21)


@pytest.mark.parametrize("fps", [10, 24, 30, 60])
def test_classic_keeps_its_times_at_other_rates(fps):
    starts = classic_blink_starts(1500, np.random.default_rng(4))
    closure = classic_blinks(60 * fps, fps, np.random.default_rng(4))[:, 0]
    shut = np.flatnonzero(closure == 1.0)
    np.testing.assert_allclose(shut / fps, (np.array(starts) + 2) / 25, atol=0.51 / fps)


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
    calm = (seconds < 0.5) | (seconds > (frames - 1) / fps - 0.5)
    assert not closure[calm].any()
    if rate > 0 and frames / fps >= 4:
        assert closure.max() == 1.0
    shut = np.flatnonzero(np.diff(np.r_[0, closure[:, 0] == 1.0, 0].astype(int)) == 1)
    assert (np.diff(shut) >= 1.1 * fps).all()
    if rate == 0:
        assert not closure.any()


@pytest.mark.parametrize("fps", [10, 12, 23.976, 25, 30, 50, 60])
@pytest.mark.parametrize("seconds", [10, 11.9, 17.3, 60])
def test_every_clip_blinks_at_a_human_rate(fps, seconds):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        speaking = np.repeat(rng.uniform(size=200), 20)[: round(seconds * fps)] if seed % 2 else None
        closure = natural_blinks(round(seconds * fps), fps, rng, speaking=speaking)
        found = measured_blinks(closure, fps)
        assert 15 <= len(found) * 60 / seconds <= 30, seed
        assert len(found) == np.sum(np.diff(np.r_[0, closure[:, 0] == 1.0]) == 1)  # none lost, none joined
        lengths = np.array([b - a for a, b in found]) / METER_FPS
        assert (lengths >= 0.08 - 1e-9).all() and (lengths <= 0.25).all()


def test_gaps_are_irregular_but_the_mean_is_kept():
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


def test_blinks_move_to_pauses():
    """Speech of 2.4 s and pauses of 0.6 s: by chance a fifth of the blinks would fall into a pause."""
    speaking = np.tile(np.r_[np.ones(60), np.zeros(15)], 40)
    hits = []
    for seed in range(20):
        closure = natural_blinks(len(speaking), 25, np.random.default_rng(seed), speaking=speaking)
        hits.append(np.mean(speaking[closure[:, 0] == 1.0] == 0))
    assert np.mean(hits) > 0.45


@pytest.mark.parametrize("wrong", [{"fps": 0}, {"rate_per_minute": -1}, {"speaking": np.zeros(3)}])
def test_refuses_nonsense(wrong):
    arguments = {"frames": 100, "fps": 25, "rng": np.random.default_rng(0)} | wrong
    with pytest.raises(ValueError):
        natural_blinks(**arguments)
