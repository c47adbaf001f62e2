"""Synchronisation of audio and video for unusual time stamps, measured with a flash and a beep."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import number_image, write_clip

from liveportrait_talker.media import open_footage, read_waveform
from liveportrait_talker.media.audio_clock import AudioClock
from liveportrait_talker.media.timeline import read_timeline
from shared import DATA, needs_shared

CASES = DATA / "cases"
RATE, FPS = 48_000, 25
CODECS = {
    "mp4": ("libx264", "aac"),
    "mkv": ("libx264", "aac"),
    "webm": ("libvpx", "libopus"),
    "mov": ("libx264", "aac"),
}


def flash_and_beep(
    path: Path, *, video_delay: float = 0.0, audio_delay: float = 0.0, event: float = 1.6, jump: float = 0.0
) -> Path:
    """Write 4 s of black and silence with a flash and a beep at `event` seconds; a stream may start late.

    `jump`: seconds by which the time stamps of the audio jump at 2 s.
    """
    video_codec, audio_codec = CODECS[path.suffix[1:]]
    with av.open(str(path), "w") as container:
        video = container.add_stream(video_codec, rate=FPS)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream(audio_codec, rate=RATE, layout="mono")
        for k in range(round(video_delay * FPS), 4 * FPS):
            level = 255 if event <= k / FPS + 1e-6 < event + 0.2 else 0
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        time = np.arange(4 * RATE) / RATE
        beep = np.where((time >= event) & (time < event + 0.2), np.sin(2 * np.pi * 440 * time), 0)
        for start in range(round(audio_delay * RATE), len(beep), 960):
            block = av.AudioFrame.from_ndarray(beep[None, start : start + 960].astype(np.float32), "fltp", "mono")
            offset = round(jump * RATE) if start >= 2 * RATE else 0
            block.sample_rate, block.pts, block.time_base = RATE, start + offset, Fraction(1, RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return path


def events(path: Path) -> tuple[float, float]:
    """Return the times of the flash and the beep, read with the package."""
    with open_footage(path) as footage:
        brightness = np.array([footage[k].mean() for k in range(len(footage))])
        flash = int(np.argmax(brightness > 128)) / footage.fps
    voice = read_waveform(path)
    beep = int(np.argmax(np.abs(voice.samples) > 0.2)) / voice.sample_rate
    return flash, beep


@pytest.mark.parametrize("kind", sorted(CODECS))
@pytest.mark.parametrize(
    "delays", [{}, {"video_delay": 0.6}, {"audio_delay": 0.5}, {"audio_delay": 0.12}, {"video_delay": 0.04}]
)
def test_late_streams_stay_synchronised(tmp_path, kind, delays):
    flash, beep = events(flash_and_beep(tmp_path / f"clip.{kind}", **delays))
    assert abs(flash - beep) <= 0.02


def test_first_frame_is_held_if_the_video_starts_late(tmp_path):
    path = flash_and_beep(tmp_path / "clip.mkv", video_delay=0.6, event=0.6)
    with open_footage(path) as footage:
        assert len(footage) == 4 * FPS
        assert all(np.array_equal(footage[k], footage[15]) for k in range(15))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the highest correlation of two signals shifted by up to 20 ms."""
    reach = round(0.02 * 16_000)
    n = min(len(one), len(other)) - 2 * reach
    middle = one[reach : reach + n]
    return max(float(np.corrcoef(middle, other[shift : shift + n])[0, 1]) for shift in range(2 * reach + 1))


def best_frame(image: np.ndarray, frames: list[np.ndarray]) -> int:
    return int(np.argmin([np.abs(image.astype(int) - frame).mean() for frame in frames]))


@pytest.fixture(scope="module")
def original():
    """Return the frames and the audio of obama_1 from 2 s on, the source of the cases."""
    with open_footage(DATA / "talking" / "obama_1.mp4") as footage:
        frames = [footage[k] for k in range(2 * FPS, 2 * FPS + 152)]
    return frames, read_waveform(DATA / "talking" / "obama_1.mp4").samples[2 * 16_000 :]


@needs_shared
def test_video_starts_600_ms_after_the_audio(original):
    frames, samples = original
    path = CASES / "picture_starts_600ms_after_sound.mp4"
    voice = read_waveform(path)
    assert voice.duration_seconds == pytest.approx(6.0, abs=0.05)
    assert correlation(voice.samples, samples) > 0.9
    with open_footage(path) as footage:
        assert len(footage) == 150
        for k in (20, 60, 100, 140):
            assert best_frame(footage[k], frames) == k
        assert np.array_equal(footage[0], footage[14])


@needs_shared
def test_gap_between_time_stamps_is_silence(original):
    voice = read_waveform(CASES / "sound_pauses_1s_by_timestamps.webm")
    assert voice.duration_seconds == pytest.approx(6.0, abs=0.05)
    assert np.abs(voice.samples[round(2.05 * 16_000) : round(2.95 * 16_000)]).max() < 1e-3
    for begin, end in ((0.0, 2.0), (3.1, 5.9)):
        part = slice(round(begin * 16_000), round(end * 16_000))
        assert correlation(voice.samples[part], original[1][part]) > 0.9


@needs_shared
def test_concatenated_recordings_are_read_completely():
    path = CASES / "ts_parts_joined.ts"
    voice = read_waveform(path)
    assert voice.duration_seconds == pytest.approx(6.0, abs=0.15)
    with open_footage(path) as footage:
        assert len(footage) == pytest.approx(150, abs=3)
        first, second = footage[20], footage[100]
    assert np.abs(first.astype(int) - second).mean() > 2, "the second part differs"


@needs_shared
def test_last_frame_is_held_until_the_audio_ends():
    path = CASES / "screen_recording_3_frames.webm"
    voice = read_waveform(path)
    with open_footage(path) as footage:
        assert len(footage) / footage.fps == pytest.approx(voice.duration_seconds, abs=0.5 / footage.fps)
        assert len({footage[k].tobytes() for k in range(len(footage))}) == 3


@needs_shared
def test_decodable_audio_stream_is_chosen(caplog):
    voice = read_waveform(CASES / "iphone16_apac.mov")
    assert voice.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert np.abs(voice.samples).max() > 0.05
    assert "audio stream 2 of iphone16_apac.mov cannot be decoded; another one is used" in caplog.text


@needs_shared
def test_channels_that_cancel_out(caplog):
    voice = read_waveform(CASES / "voice_antiphase_stereo.wav")
    assert np.sqrt(np.mean(voice.samples**2)) > 0.01
    assert "the channels of voice_antiphase_stereo.wav cancel out; only the loudest one is used" in caplog.text


def test_wrong_audio_time_stamp_does_not_extend_the_video(tmp_path):
    path = flash_and_beep(tmp_path / "wild.mkv", jump=8000.0)
    with open_footage(path) as footage:
        assert len(footage) == pytest.approx(4 * FPS, abs=2)
    assert read_waveform(path).duration_seconds == pytest.approx(4.0, abs=0.1)


def test_time_stamps_apart_by_more_than_50_ms_are_silence():
    clock = AudioClock(0.0)
    clock.position = 1.0
    assert clock.gap(1.2) == pytest.approx(0.2)
    assert clock.gap(1.04) == clock.gap(0.9) == 0.0, "jitter"


def test_a_last_frame_without_a_duration_lasts_as_long_as_the_others(tmp_path):
    """MPEG-TS with a variable rate: packets have no durations."""
    images = [number_image(k) for k in range(4)]
    path = write_clip(
        tmp_path / "a.ts", images, times=[0, 100, 200, 400], time_base=Fraction(1, 1000), options={"bf": "0"}
    )
    assert read_timeline(path).duration_seconds == pytest.approx(0.5)
