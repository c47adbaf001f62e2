import numpy as np
import pytest

from liveportrait_talker.motion.resampling import at_frame_rate

WALK = np.random.default_rng(0).normal(size=(50, 6, 3)).cumsum(axis=0)


@pytest.mark.parametrize("fps", [10.0, 12.5, 30.0, 60.0])
def test_every_frame_rate_tells_the_same_time(fps):
    frames = round(8 * fps)
    track, wanted = (np.sin(2 * np.pi * 0.5 * np.arange(n) / rate) for n, rate in ((200, 25.0), (frames, fps)))
    inner = slice(2, -3)
    np.testing.assert_allclose(at_frame_rate(track, 25.0, frames, fps)[inner], wanted[inner], atol=0.05)


@pytest.mark.parametrize("frames", [1, 49, 50])
@pytest.mark.parametrize("fps", [25.0, 29.97, 80 / 3])
def test_its_own_rate_gives_it_back_to_the_bit(frames, fps):
    np.testing.assert_array_equal(at_frame_rate(WALK, fps, frames, fps), WALK[:frames])


@pytest.mark.parametrize("length", [1, 2, 50])
@pytest.mark.parametrize("fps", [5.0, 12.5, 25.0, 60.0])
def test_beyond_its_end_it_is_held(length, fps):
    out = at_frame_rate(WALK[:length], 25.0, 150, fps)
    assert out.shape == (150, 6, 3) and np.isfinite(out).all()
    held = out[int(np.ceil(length * fps / 25.0)) :]
    np.testing.assert_array_equal(held, np.broadcast_to(held[-1], held.shape))
    if fps >= 25:
        np.testing.assert_array_equal(held[-1], WALK[length - 1])


@pytest.mark.parametrize("shape", [(40,), (40, 5), (40, 6, 3)])
def test_each_number_by_itself(shape):
    track = np.random.default_rng(1).normal(size=shape)
    out = at_frame_rate(track, 25.0, 70, 60.0).reshape(70, -1)
    for column, alone in zip(track.reshape(40, -1).T, out.T, strict=True):
        np.testing.assert_array_equal(at_frame_rate(column, 25.0, 70, 60.0), alone)


@pytest.mark.parametrize("fps", [7.0, 12.5, 30.0, 60.0])
def test_never_past_its_neighbours(fps):
    steps = np.repeat([0.0, 1.0, 0.0, 0.5], 10)
    out = at_frame_rate(steps, 25.0, round(1.6 * fps), fps)
    assert out.min() >= 0.0 and out.max() <= 1.0


def test_half_the_rate_does_not_alias():
    flicker = np.tile([1.0, -1.0], 40)
    assert np.abs(at_frame_rate(flicker, 25.0, 38, 12.5)[2:-2]).max() < 1e-12
