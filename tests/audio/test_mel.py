import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.audio.mel import (
    mel_filters,
    mel_spectrogram,
    mel_window_index,
    mel_windows,
)
from liveportrait_talker.media.waveform import Waveform

NAMES = ["speech", "short", "silence", "loud"]


def test_filters(golden):
    np.testing.assert_allclose(mel_filters(), golden("sadtalker_mel")["mel_basis"], atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_spectrogram_and_windows(golden, name):
    g = golden("sadtalker_mel")
    wav = g[f"{name}.wav"]
    frames = int(g[f"{name}.num_frames"])
    mel = mel_spectrogram(Waveform(wav, 16_000), frames)
    np.testing.assert_allclose(mel, g[f"{name}.mel"], atol=1e-6)
    index = mel_window_index(frames, len(mel))
    np.testing.assert_array_equal(index, g[f"{name}.window_index"])
    if f"{name}.windows" in g:
        windows = mel_windows(mel, index)
        assert windows.dtype == np.float32
        np.testing.assert_allclose(windows[None], g[f"{name}.windows"], atol=1e-6)


def test_digital_silence_is_minus_4():
    assert (mel_spectrogram(Waveform(np.zeros(8000, np.float32), 16_000), 12) == -4.0).all()


def test_short_input_is_padded_with_silence():
    voice = Waveform(np.full(10, 0.5, np.float32), 16_000)
    mel = mel_spectrogram(voice, 25)
    assert mel.shape == (81, 80)
    assert (mel[10:] == -4.0).all() and (mel[0] > -4.0).any()


def test_rows_do_not_depend_on_block_boundaries():
    """Rows at block boundaries equal those of a short excerpt around them."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, 16_000 * 30).astype(np.float32)
    whole = mel_spectrogram(Waveform(samples, 16_000), 750)
    for row in (1023, 1024, 1025, 2048):
        first = (row - 8) * 200
        part = mel_spectrogram(Waveform(samples[first : first + 6400], 16_000), 10)
        np.testing.assert_allclose(part[8], whole[row], atol=1e-9)


@given(st.integers(1, 20_000), st.integers(0, 40), st.floats(10, 60))
@settings(max_examples=60, deadline=None)
def test_any_length_and_rate(samples, frames, fps):
    voice = Waveform(np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32), 16_000)
    mel = mel_spectrogram(voice, frames, fps)
    assert mel.shape == (1 + int(frames * (16_000 / fps)) // 200, 80)
    assert ((mel >= -4) & (mel <= 4)).all()
    index = mel_window_index(frames, len(mel), fps)
    assert index.shape == (frames, 16)
    assert ((index >= 0) & (index < len(mel))).all()
    assert mel_windows(mel, index).shape == (frames, 1, 80, 16)


def test_memory_is_bounded_by_the_result():
    voice = Waveform(np.zeros(16_000 * 300, np.float32), 16_000)
    tracemalloc.start()
    mel = mel_spectrogram(voice, 7500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mel.nbytes + voice.samples.nbytes + 40e6


def test_other_sample_rates_are_rejected():
    with pytest.raises(ValueError, match="16000"):
        mel_spectrogram(Waveform(np.zeros(100, np.float32), 44_100), 1)
