"""Resampling of sound in pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.audio.resampler import Resampler

RATES = (8000, 11025, 16_000, 22_050, 24_000, 44_100, 48_000)


def tone(hz: float, rate: int, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("from_rate", RATES)
@pytest.mark.parametrize("to_rate", (16_000, 24_000, 48_000))
def test_tone_keeps_its_length_place_and_level(from_rate, to_rate):
    resampler = Resampler(from_rate, to_rate)
    out = np.concatenate([resampler.push(tone(440, from_rate, 0.5)), resampler.flush()])
    assert len(out) == -(-round(0.5 * from_rate) * to_rate // from_rate)
    inside = slice(to_rate // 20, -to_rate // 20)
    expected = tone(440, to_rate, 0.6)[: len(out)]
    assert np.abs(out - expected)[inside].max() < 2e-3
    assert out.dtype == np.float32


def test_tones_above_the_new_range_are_removed():
    resampler = Resampler(48_000, 16_000)
    out = resampler.push(tone(9000, 48_000, 0.5))
    assert np.abs(out[200:]).max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=30),
    rates=st.sampled_from([(8000, 24_000), (44_100, 16_000), (48_000, 24_000), (16_000, 16_000), (22_050, 48_000)]),
)
def test_pieces_do_not_matter(cuts, rates):
    samples = np.random.default_rng(0).normal(0, 0.2, sum(cuts)).astype(np.float32)
    whole, pieces = Resampler(*rates), Resampler(*rates)
    expected = np.concatenate([whole.push(samples), whole.flush()])
    parts = [pieces.push(part) for part in np.split(samples, np.cumsum(cuts)[:-1])]
    assert np.array_equal(np.concatenate([*parts, pieces.flush()]), expected)


def test_memory_is_bounded_and_the_count_exact():
    resampler = Resampler(44_100, 24_000)
    made = sum(len(resampler.push(np.zeros(441, np.float32))) for _ in range(3000))
    assert 30 * 24_000 - 40 < made <= 30 * 24_000
    assert len(resampler._known) < 1000
    assert made + len(resampler.flush()) == 30 * 24_000
