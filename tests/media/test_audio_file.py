from __future__ import annotations

import logging
import wave
from pathlib import Path

import numpy as np
import pytest
from clips import tone, write_clip, write_sound

from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import read_waveform
from liveportrait_talker.media.audio_file import MIN_VOICE_SECONDS


def loudest_hertz(samples: np.ndarray, sample_rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * sample_rate / len(samples))


@pytest.mark.parametrize(
    ("name", "sample_rate", "codec"),
    [
        ("a.wav", 8_000, "pcm_s16le"),
        ("a.wav", 16_000, "pcm_u8"),
        ("a.WAV", 44_100, "pcm_s24le"),
        ("a.wav", 48_000, "pcm_f32le"),
        ("a.wav", 96_000, "pcm_f64le"),
        ("a.flac", 22_050, "flac"),
        ("a.mp3", 48_000, "libmp3lame"),
        ("a.m4a", 44_100, "aac"),
        ("a.ogg", 48_000, "libopus"),
    ],
)
def test_sample_rates_and_formats(tmp_path: Path, name: str, sample_rate: int, codec: str) -> None:
    path = write_sound(tmp_path / name, tone(1.0, sample_rate)[None], sample_rate, codec=codec)
    voice = read_waveform(path)
    assert voice.sample_rate == 16_000
    assert voice.duration_seconds == pytest.approx(1.0, abs=0.04)  # lossy codecs pad to whole blocks
    middle = voice.samples[4000:12_000]
    assert loudest_hertz(middle, 16_000) == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.03)


def test_resampling_preserves_position_and_length(tmp_path: Path) -> None:
    click = np.zeros((1, 44_100))
    click[0, 22_050] = 0.9
    voice = read_waveform(write_sound(tmp_path / "click.wav", click, 44_100))
    assert abs(len(voice.samples) - 16_000) <= 1
    assert abs(int(np.abs(voice.samples).argmax()) - 8000) <= 1


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    left = tone(0.5, 16_000, 400)
    path = write_sound(tmp_path / "a.wav", np.stack([left, 0 * left]), 16_000, layout="stereo")
    np.testing.assert_allclose(read_waveform(path).samples, left / 2, atol=1e-4)
    surround = np.stack([left] * 6)
    path = write_sound(tmp_path / "b.wav", surround, 16_000, layout="5.1")
    np.testing.assert_allclose(read_waveform(path).samples, left, atol=1e-4)


def test_nan_becomes_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = tone(0.5, 16_000)
    samples[100:110], samples[200] = np.nan, np.inf
    path = write_sound(tmp_path / "odd.wav", samples[None], 16_000, codec="pcm_f32le")
    voice = read_waveform(path)
    assert np.isfinite(voice.samples).all()
    assert not voice.samples[100:110].any()
    assert "odd.wav has 11 samples that are not numbers" in caplog.text


def test_samples_are_clipped(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tone(0.5, 44_100, level=3)[None], 44_100, codec="pcm_f32le")
    assert np.abs(read_waveform(path).samples).max() <= 1


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0.0, "an audio stream without samples"),
        (0.1, "has only 100 ms of audio"),
        (3.0, "longer than the limit of 2 sec"),
    ],
)
def test_length_limits(tmp_path: Path, seconds: float, message: str) -> None:
    path = tmp_path / "short.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * round(seconds * 16_000)))
    with pytest.raises(MediaError, match=f"short.wav .*{message}"):
        read_waveform(path, max_seconds=2.0)


def test_shortest_voice_is_accepted(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tone(MIN_VOICE_SECONDS, 16_000)[None], 16_000)
    assert len(read_waveform(path).samples) == 3200


def test_no_audio(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "mute.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3)
    with pytest.raises(MediaError, match=r"mute.mp4 has no audio; give"):
        read_waveform(path)


def test_truncated_audio_is_read_as_far_as_possible(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_sound(tmp_path / "a.flac", tone(4.0, 16_000)[None], 16_000, codec="flac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        voice = read_waveform(path)
    assert 1.0 < voice.duration_seconds < 3.0
    assert "a.flac is damaged" in caplog.text


def test_playlists_open_no_other_files(tmp_path: Path) -> None:
    write_sound(tmp_path / "secret.wav", tone(1.0, 16_000)[None], 16_000)
    playlist = tmp_path / "voice.wav"
    for content in ("ffconcat version 1.0\nfile secret.wav\n", "#EXTM3U\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"):
        playlist.write_text(content)
        with pytest.raises(MediaError, match=r"voice.wav is not a picture, video or audio file"):
            read_waveform(playlist)
