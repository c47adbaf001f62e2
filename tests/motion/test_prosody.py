"""Brows and lids that follow a voice."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.motion.prosody import follow_voice, number_phrases

RATE = 50.0


def accented(seconds: float = 12.0, every: float = 1.5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pitch, loudness and speaking of a voice with accents of 5 semitones, a pause in the middle, and times."""
    t = (np.arange(round(seconds * RATE)) + 0.5) / RATE
    phase = (t + every / 2) % every - every / 2
    semitones = 5 * np.exp(-np.square(phase / 0.12))
    speaking = ~((t > 0.42 * seconds) & (t < 0.6 * seconds))
    pitch = np.where(speaking, 120 * 2 ** (semitones / 12), 0)
    return pitch, np.where(speaking, -20 + 1.5 * semitones, -80), speaking.astype(float), t


def follow(seed: int = 0, fps: float = 25.0, **voice):
    pitch, loudness, speaking, t = accented(**voice)
    times = np.arange(round(t[-1] * fps)) / fps
    return follow_voice(pitch, loudness, speaking, RATE, times, np.random.default_rng(seed)), times


def test_brows_rise_on_accents_and_only_there():
    found = [follow(seed) for seed in range(12)]
    brows, times = np.mean([each.brows for each, _ in found], axis=0), found[0][1]
    accents = np.array([1.5, 3.0, 4.5, 9.0, 10.5])
    assert np.interp(accents, times, brows).min() > 0.006
    assert np.interp(accents[:2] + 0.75, times, brows).max() < 0.003
    highest = max(each.brows.max() for each, _ in found)
    assert 0.02 < highest < 0.06, "subtle: a raised brow of the sliders is 0.09"
    raised = [each.brows[np.abs(times - 3).argmin()] > 0.012 for each, _ in found]
    assert 2 < sum(raised) < 12, "not every accent is marked"


def test_the_brows_are_up_with_the_pitch_not_after_it():
    found, times = follow(1)
    top = times[int(found.brows.argmax())]
    nearest = 1.5 * round(top / 1.5)
    assert -0.15 <= top - nearest <= 0.04


def test_the_face_rests_in_pauses():
    found, times = follow()
    pause = (times > 0.42 * 12 + 0.6) & (times < 0.6 * 12 - 0.5)
    assert np.abs(found.brows[pause]).max() < 1e-3 and np.abs(found.widening[pause]).max() < 1e-3


def test_lids_widen_with_emphasis_and_never_much():
    found, _ = follow()
    assert 0.03 < found.widening.max() < 0.2 and found.widening.min() > -1e-9


def test_a_voice_without_pitch_moves_nothing():
    silent = follow_voice(*np.zeros((3, 100)), RATE, np.arange(50) / 25, np.random.default_rng(0))
    assert not silent.brows.any() and not silent.widening.any()


def test_motion_is_a_function_of_the_seed_and_not_of_the_frame_rate():
    one, times = follow(3)
    again, _ = follow(3)
    np.testing.assert_array_equal(one.brows, again.brows)
    assert np.abs(one.brows - follow(4)[0].brows).max() > 0.005
    fast, fast_times = follow(3, fps=60.0)
    np.testing.assert_allclose(np.interp(times, fast_times, fast.brows), one.brows, atol=2e-3)


def test_each_accent_takes_three_random_numbers():
    """Used or not, so that one more does not change the later ones."""
    rng = np.random.default_rng(0)
    follow_voice(*accented()[:3], RATE, np.arange(10) / 25, rng)
    state = rng.bit_generator.state["state"]
    assert any(state == _after(n) for n in range(1, 12))


def _after(accents: int):
    rng = np.random.default_rng(0)
    rng.uniform(size=3 * accents)
    return rng.bit_generator.state["state"]


@pytest.mark.parametrize(("pause_s", "phrases"), [(0.2, 1), (0.8, 2)])
def test_a_long_pause_begins_a_phrase(pause_s, phrases):
    voice = np.ones(100)
    voice[40 : 40 + round(pause_s * 25)] = 0
    assert number_phrases(voice, 25)[-1] == phrases
