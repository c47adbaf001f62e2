"""The voice driver for streams, on synthetic sounds and on the shared voices where they are available."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.driving.signal.stream import SpeechStream
from liveportrait_talker.errors import WeightsError
from liveportrait_talker.media.waveform import Waveform
from shared import DATA, load_tool, needs_shared
from sounds import babble, pad

RATE = 16_000
FPS = 25.0
STEP = 640  # samples of a frame
REST = 9  # frames after the end
OPEN = 0


def noise(seconds: float, dbfs: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 10 ** (dbfs / 20), round(seconds * RATE))


def mouth(sound: np.ndarray, stream: SpeechStream | None = None) -> np.ndarray:
    """Return the frames of an utterance that arrives at once."""
    stream = stream or SpeechStream()
    stream.push(sound)
    stream.end()
    return stream.pop_frames()


# ------------------------------------------------------------------ pieces
@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 3 * RATE), max_size=12), fps=st.sampled_from([25.0, 30.0, 12.0]))
def test_the_pieces_do_not_matter(cuts: list[int], fps: float) -> None:
    sound = pad(babble(2.5), 0.2, 0.3)
    whole = mouth(sound, SpeechStream(fps=fps))
    stream = SpeechStream(fps=fps)
    frames = []
    for piece in np.split(sound, sorted(cuts)):
        stream.push(piece)
        frames.append(stream.pop_frames())
    stream.end()
    assert np.concatenate([*frames, stream.pop_frames()]).tobytes() == whole.tobytes()


def test_pieces_of_one_sample() -> None:
    sound = babble(0.3)
    stream = SpeechStream()
    for sample in sound:
        stream.push(np.array([sample]))
    stream.end()
    np.testing.assert_array_equal(stream.pop_frames(), mouth(sound))


@pytest.mark.parametrize(("look_ahead", "steps"), [(0.04, 1), (0.08, 2), (0.11, 2), (0.2, 5)])
def test_a_frame_is_certain_after_the_look_ahead(look_ahead: float, steps: int) -> None:
    stream = SpeechStream(look_ahead)
    sound = babble(1.0)
    stream.push(sound[: 10 * STEP + steps * STEP - 1])
    assert len(stream.pop_frames()) == 10
    stream.push(sound[10 * STEP + steps * STEP - 1 :][:1])
    assert len(stream.pop_frames()) == 1


@pytest.mark.parametrize("fps", [10.0, 24.0, 25.0, 29.97, 60.0])
@pytest.mark.parametrize("seconds", [1 / RATE, 0.04, 1.01])
def test_an_utterance_has_the_frames_of_its_sound_and_of_the_rest(seconds: float, fps: float) -> None:
    sound = babble(2.0)[: round(seconds * RATE)]
    steps = -(-len(sound) // STEP) + REST
    assert len(mouth(sound, SpeechStream(fps=fps))) == round(steps * fps / FPS)


def test_other_rates_show_the_same_mouth() -> None:
    sound = babble(2.0)
    slow, fast = mouth(sound), mouth(sound, SpeechStream(fps=50.0))
    np.testing.assert_allclose(fast[::2], slow)
    np.testing.assert_allclose(fast[1:-1:2], (slow[1:] + slow[:-1]) / 2)


def test_nothing_follows_from_nothing() -> None:
    stream = SpeechStream()
    stream.push(np.zeros(0))
    stream.end()
    assert stream.pop_frames().shape == (0, 5)


# ------------------------------------------------------------------ what the mouth does
def test_a_voice_opens_the_mouth_within_its_limits() -> None:
    frames = mouth(babble(4.0))
    assert frames[:, OPEN].max() > 0.08
    assert frames.min(axis=0)[:3].min() >= 0
    assert frames.max() < 0.24
    assert np.abs(np.diff(frames[:, OPEN])).max() <= 0.08 + 1e-9


def test_the_mouth_opens_before_the_sound_and_shuts_after_it() -> None:
    aperture = mouth(pad(babble(2.0), 1.0, 1.0))[:, OPEN]
    assert aperture[:23].max() == 0
    assert aperture[30:70].max() > 0.08
    assert aperture[75 + REST :].max() <= 0.02


@pytest.mark.parametrize("dbfs", [-90.0, -60.0, -50.0])
def test_background_does_not_move_the_mouth(dbfs: float) -> None:
    stream = SpeechStream()
    assert np.abs(mouth(noise(4.0, dbfs), stream)).max() == 0
    sound = np.concatenate([babble(3.0), np.zeros(4 * RATE)]) + noise(7.0, dbfs)
    assert mouth(sound, stream)[75 + REST :].max() <= 0.02


def test_steady_louder_noise_is_learnt() -> None:
    sound = np.concatenate([babble(3.0), np.zeros(8 * RATE)]) + noise(11.0, -40)
    assert mouth(sound)[round(8 * FPS) :, OPEN].max() <= 0.02


def test_the_end_shuts_the_mouth() -> None:
    stream = SpeechStream()
    sound = babble(2.05)
    sound[-4000:] = babble(4.0)[RATE // 16 : RATE // 16 + 4000]  # ends in the middle of a syllable
    frames = mouth(sound, stream)
    assert frames[-REST - 2, OPEN] > 0.03
    assert np.abs(frames[-1]).max() <= 0.005


def test_clearing_closes_the_lips_from_where_they_are() -> None:
    stream = SpeechStream()
    stream.push(babble(2.0))
    shown = stream.pop_frames()
    last = len(shown) - 1
    for last in range(len(shown)):
        if shown[last, OPEN] > 0.06:
            break
    stream = SpeechStream()
    stream.push(babble(2.0)[: (last + 2) * STEP])
    assert stream.pop_frames()[-1, OPEN] == shown[last, OPEN]
    stream.push(babble(2.0)[: 3 * STEP])  # forgotten
    stream.clear(shown[last])
    closing = stream.pop_frames()
    assert len(closing) == 4
    assert shown[last, OPEN] > closing[0, OPEN] > closing[2, OPEN] > 0
    assert not closing[-1].any()
    stream.push(np.zeros(3 * STEP))
    assert not stream.pop_frames().any()


def test_after_clearing_an_utterance_is_as_long_as_its_sound() -> None:
    stream = SpeechStream()
    stream.push(babble(1.0)[: RATE // 2 + 100])
    stream.clear(stream.pop_frames()[-1])
    stream.pop_frames()
    assert len(mouth(babble(1.0), stream)) == 25 + REST


def test_the_level_of_the_voice_is_learnt() -> None:
    quiet = babble(6.0) * 10 ** (-14 / 20)
    assert mouth(quiet)[75:150, OPEN].std() > 0.6 * mouth(babble(6.0))[75:150, OPEN].std()


# ------------------------------------------------------------------ damaged input
def test_samples_that_are_not_finite_are_silence() -> None:
    sound = babble(1.0)
    damaged, silent = sound.copy(), sound.copy()
    damaged[4000:4100] = np.nan
    damaged[4100:4200] = np.inf
    silent[4000:4200] = 0
    np.testing.assert_array_equal(mouth(damaged), mouth(silent))


def test_samples_of_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N,\)"):
        SpeechStream().push(np.zeros((100, 2)))


@pytest.mark.parametrize("look_ahead", [0.0, 0.3, float("nan")])
def test_a_look_ahead_out_of_range_is_refused(look_ahead: float) -> None:
    with pytest.raises(ValueError, match="look-ahead"):
        SpeechStream(look_ahead)


@pytest.mark.parametrize("fps", [0.0, float("inf"), float("nan")])
def test_a_frame_rate_out_of_range_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        SpeechStream(fps=fps)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="none"):
        SpeechStream(weights=tmp_path / "none.npz")


# ------------------------------------------------------------------ real voices
@needs_shared
@pytest.mark.parametrize("name", ["en_man.wav", "de_woman.ogg", "zh_woman.wav"])
def test_it_agrees_with_the_driver_that_hears_the_whole(name: str) -> None:
    sound = load_tool("face_tracks").read_audio(DATA / "voices" / name).astype(np.float32)
    whole = SignalDriver().mouth(Waveform(sound, RATE), FPS)[:, OPEN]
    assert np.corrcoef(whole, mouth(sound)[: len(whole), OPEN])[0, 1] > 0.7


@needs_shared
def test_long_pauses_are_shut() -> None:
    sound = load_tool("face_tracks").read_audio(DATA / "voices" / "en_long_pauses.wav").astype(np.float32)
    whole = SignalDriver().mouth(Waveform(sound, RATE), FPS)[:, OPEN]
    rest = np.convolve(whole > 0, np.ones(21), "same") == 0
    assert rest.sum() > 20
    assert mouth(sound)[: len(whole), OPEN][rest].max() <= 0.02
