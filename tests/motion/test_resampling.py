"""Resampling of tracks to another frame rate."""

import numpy as np
import pytest

from liveportrait_talker.motion.resampling import resample_track

WALK = np.random.default_rng(0).normal(size=(50, 6, 3)).cumsum(axis=0)


@pytest.mark.parametrize("fps", [10.0, 12.5, 30.0, 60.0])
def test_time_does_not_depend_on_the_frame_rate(fps):
    frames = round(8 * fps)
    track, wanted = (np.sin(2 * np.pi * 0.5 * np.arange(n) / rate) for n, rate in ((200, 25.0), (frames, fps)))
    inner = slice(2, -3)
    np.testing.assert_allclose(resample_track(track, 25.0, frames, fps)[inner], wanted[inner], atol=0.05)


@pytest.mark.parametrize("frames", [1, 49, 50])
@pytest.mark.parametrize("fps", [25.0, 29.97, 80 / 3])
def test_the_same_rate_returns_the_same_values(frames, fps):
    np.testing.assert_array_equal(resample_track(WALK, fps, frames, fps), WALK[:frames])


@pytest.mark.parametrize("length", [1, 2, 50])
@pytest.mark.parametrize("fps", [5.0, 12.5, 25.0, 60.0])
def test_the_last_value_is_held(length, fps):
    out = resample_track(WALK[:length], 25.0, 150, fps)
    assert out.shape == (150, 6, 3) and np.isfinite(out).all()
    held = out[int(np.ceil(length * fps / 25.0)) :]
    np.testing.assert_array_equal(held, np.broadcast_to(held[-1], held.shape))
    if fps >= 25:
        np.testing.assert_array_equal(held[-1], WALK[length - 1])


@pytest.mark.parametrize("shape", [(40,), (40, 5), (40, 6, 3)])
def test_scalars_are_independent(shape):
    track = np.random.default_rng(1).normal(size=shape)
    out = resample_track(track, 25.0, 70, 60.0).reshape(70, -1)
    for column, alone in zip(track.reshape(40, -1).T, out.T, strict=True):
        np.testing.assert_array_equal(resample_track(column, 25.0, 70, 60.0), alone)


@pytest.mark.parametrize("fps", [7.0, 12.5, 30.0, 60.0])
def test_no_overshoot(fps):
    steps = np.repeat([0.0, 1.0, 0.0, 0.5], 10)
    out = resample_track(steps, 25.0, round(1.6 * fps), fps)
    assert out.min() >= 0.0 and out.max() <= 1.0


def test_lower_rates_do_not_alias():
    flicker = np.tile([1.0, -1.0], 40)
    assert np.abs(resample_track(flicker, 25.0, 38, 12.5)[2:-2]).max() < 1e-12
