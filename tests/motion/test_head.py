"""Natural head motion: size, spectrum, pauses, nods."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.audio.loudness import detect_speech
from liveportrait_talker.motion import natural_head_pose

PITCH, YAW, ROLL = range(3)


@lru_cache(maxsize=64)
def voice(seconds: float, fps: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Loudness and speaking track of synthetic speech: syllables in phrases of 1–4 s, pauses of 0.3–1 s."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * fps)
    loudness = np.full(frames, -70.0)
    at = rng.uniform(0, 0.5)
    while at < seconds:
        end = at + rng.uniform(1, 4)
        while at < min(end, seconds):
            length, level = rng.uniform(0.12, 0.32), rng.normal(-22, 5)
            a, b = round(at * fps), round((at + length) * fps)
            bump = np.sin(np.pi * (np.arange(a, min(b, frames)) - a + 0.5) / max(b - a, 1))
            loudness[a : a + len(bump)] = np.maximum(loudness[a : a + len(bump)], level - 18 * (1 - bump))
            at += length
        at += rng.uniform(0.3, 1.0)
    loudness += rng.normal(0, 0.5, frames)
    loudness = np.maximum(loudness, loudness.max() - 60)
    return loudness, detect_speech(loudness, fps)


def pose_of(seconds: float, seed: int, fps: float = 25.0, **options: float) -> np.ndarray:
    return natural_head_pose(*voice(seconds, fps, seed), fps, np.random.default_rng(seed), **options)


def pose_speed(pose: np.ndarray, fps: float) -> float:
    """Speed in °/s as in docs/method/measurements.md, Head: each axis smoothed over five frames."""
    smooth = np.stack([np.convolve(axis, np.ones(5) / 5, "valid") for axis in pose.T])
    return float(np.sqrt((np.diff(smooth, axis=1) ** 2).sum(0)).mean() * fps)


def shares(pose: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Share (3,) of the variance of each axis below 1 Hz and above 4 Hz."""
    power = np.abs(np.fft.rfft(pose - pose.mean(0), axis=0)) ** 2
    hz = np.fft.rfftfreq(len(pose), 1 / fps)
    return power[hz < 1].sum(0) / power.sum(0), power[hz > 4].sum(0) / power.sum(0)


@pytest.mark.parametrize("fps", [25.0, 60.0, 12.0])
@pytest.mark.parametrize("seconds", [10, 20, 60])
def test_size_speed_and_spectrum_are_human(seconds, fps):
    for seed in range(40):
        pose = pose_of(seconds, seed, fps)
        pitch, yaw, roll = pose.std(axis=0)
        assert 1 <= pitch <= 3 and 1.5 <= yaw <= 4 and 1 <= roll <= 3.5, seed
        slow, fast = shares(pose, fps)
        assert slow.min() >= 0.8, (seed, slow)
        assert np.average(slow, weights=pose.var(axis=0)) >= 0.88
        assert fast.max() < 0.02
        assert fps != 25 or 5 <= pose_speed(pose, fps) <= 15, (seed, pose_speed(pose, fps))


@pytest.mark.parametrize("seconds", [3, 4, 6, 8])
def test_short_clips_move_too(seconds):
    enough = []
    for seed in range(60):
        pose = pose_of(seconds, seed)[13:]
        enough.append(bool((pose.std(axis=0) >= (1, 1.5, 1)).all()))
        assert pose_speed(pose, 25) <= 18
    assert np.mean(enough) >= 0.9


@given(st.integers(0, 2000), st.floats(10, 60), st.integers(0, 2**32 - 1), st.integers(0, 2))
@settings(max_examples=120, deadline=None)
def test_any_length_rate_and_voice(frames, fps, seed, kind):
    rng = np.random.default_rng(seed)
    loudness = np.full(frames, -50.0) if kind == 0 else rng.uniform(-60, 0, frames)
    mask = {0: np.zeros(frames), 1: np.ones(frames), 2: rng.uniform(size=frames)}[kind]
    pose = natural_head_pose(loudness, mask, fps, np.random.default_rng(seed))
    assert pose.shape == (frames, 3)
    assert np.isfinite(pose).all()
    assert (np.abs(pose) <= np.array([8.0, 9.0, 7.0]) + 1e-9).all()
    if frames:
        assert not pose[0].any()


def test_motion_starts_slowly_from_the_source_pose():
    for seed in range(40):
        pose = pose_of(20, seed)
        assert np.abs(pose[1]).max() < 0.5
        assert np.abs(pose[:4]).max() < 3


def test_motion_is_smaller_in_pauses_but_not_zero():
    """10 s of speech, 10 s of silence, twice."""
    loudness, mask = voice(10, 25, 0)
    track = np.concatenate([loudness, np.full(250, loudness.min())] * 2)
    spoken = np.concatenate([mask, np.zeros(250)] * 2)
    ratios = []
    for seed in range(40):
        pose = natural_head_pose(track, spoken, 25, np.random.default_rng(seed))
        # From a second after the voice starts or stops.
        talk, rest = (np.concatenate([pose[a + 25 : a + 225], pose[a + 525 : a + 725]]) for a in (0, 250))
        ratios.append(np.sqrt(np.square(rest - rest.mean(0)).mean() / np.square(talk - talk.mean(0)).mean()))
        for a in range(275, 475, 50):
            assert pose_speed(pose[a : a + 50], 25) > 0.4, seed
        assert pose_speed(rest, 25) < 0.7 * pose_speed(talk, 25)
    assert 0.3 <= np.mean(ratios) <= 0.5, np.mean(ratios)


def test_long_clips_do_not_drift():
    loudness, mask = voice(600, 25, 1)
    pose = natural_head_pose(loudness, mask, 25, np.random.default_rng(0))
    minutes = pose.reshape(10, 1500, 3).mean(axis=1)
    assert np.abs(minutes).max() < 1.5
    np.testing.assert_allclose(pose[:7500].std(0), pose[7500:].std(0), rtol=0.25)


def test_nods_follow_stress_by_30_ms():
    """Pitch averaged over many stressed syllables: the drift averages out, the nods remain."""
    frames, every = 25 * 60, 50
    peaks = np.full(frames, -30.0)
    bump = 15 * np.hanning(11)
    for at in range(100, frames - 50, every):
        peaks[at - 5 : at + 6] += bump
    average = np.zeros(every)
    for seed in range(40):
        pose = natural_head_pose(peaks, np.ones(frames), 25, np.random.default_rng(seed))
        average += pose[100 - every // 2 : frames - 25 - every // 2, PITCH][: 26 * every].reshape(-1, every).mean(0)
    average = average / 40 - np.median(average) / 40
    late = (np.argmin(average) - every // 2) / 25
    assert average.min() < -0.4  # chin down, by 0.4 of some two degrees
    assert -0.02 <= late <= 0.09


def test_roll_leans_against_yaw():
    r = [np.corrcoef(pose_of(60, seed)[:, [YAW, ROLL]].T)[0, 1] for seed in range(40)]
    assert -0.55 < np.mean(r) < -0.15


def test_frame_rate_does_not_change_the_motion():
    a, b = (natural_head_pose(np.zeros(20 * fps), np.ones(20 * fps), fps, np.random.default_rng(2)) for fps in (25, 50))
    assert np.abs(a[25:-25] - b[50:-50:2]).max() < 0.5


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError):
        natural_head_pose(np.zeros(5), np.zeros(6), 25, np.random.default_rng(0))
    with pytest.raises(ValueError):
        natural_head_pose(np.zeros(5), np.zeros(5), 0, np.random.default_rng(0))
