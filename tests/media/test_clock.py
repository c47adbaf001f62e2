"""Sound and picture of a file stay together, whatever their time stamps do; measured by flash and beep."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from liveportrait_talker.media import open_footage, read_waveform
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
    path: Path, *, picture_late: float = 0.0, sound_late: float = 0.0, event: float = 1.6, jump: float = 0.0
) -> Path:
    """4 s of black and silence with a flash and a beep at `event` on the file's clock; a track may begin late.

    `jump`: seconds by which the sound's time stamps jump at 2 s.
    """
    picture_codec, sound_codec = CODECS[path.suffix[1:]]
    with av.open(str(path), "w") as container:
        picture = container.add_stream(picture_codec, rate=FPS)
        picture.width, picture.height, picture.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream(sound_codec, rate=RATE, layout="mono")
        for k in range(round(picture_late * FPS), 4 * FPS):
            shown = 255 if event <= k / FPS + 1e-6 < event + 0.2 else 0
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), shown, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, FPS)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        time = np.arange(4 * RATE) / RATE
        beep = np.where((time >= event) & (time < event + 0.2), np.sin(2 * np.pi * 440 * time), 0)
        for start in range(round(sound_late * RATE), len(beep), 960):
            block = av.AudioFrame.from_ndarray(beep[None, start : start + 960].astype(np.float32), "fltp", "mono")
            late = round(jump * RATE) if start >= 2 * RATE else 0
            block.sample_rate, block.pts, block.time_base = RATE, start + late, Fraction(1, RATE)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path


def events(path: Path) -> tuple[float, float]:
    """When the flash and the beep begin, as the product reads the file."""
    with open_footage(path) as footage:
        light = np.array([footage[k].mean() for k in range(len(footage))])
        flash = int(np.argmax(light > 128)) / footage.fps
    voice = read_waveform(path)
    beep = int(np.argmax(np.abs(voice.samples) > 0.2)) / voice.sample_rate
    return flash, beep


@pytest.mark.parametrize("kind", sorted(CODECS))
@pytest.mark.parametrize(
    "late", [{}, {"picture_late": 0.6}, {"sound_late": 0.5}, {"sound_late": 0.12}, {"picture_late": 0.04}]
)
def test_tracks_that_begin_late_stay_in_time(tmp_path, kind, late):
    flash, beep = events(flash_and_beep(tmp_path / f"clip.{kind}", **late))
    assert abs(flash - beep) <= 0.02


def test_a_picture_that_begins_late_is_held_before(tmp_path):
    path = flash_and_beep(tmp_path / "clip.mkv", picture_late=0.6, event=0.6)
    with open_footage(path) as footage:
        assert len(footage) == 4 * FPS
        assert all(np.array_equal(footage[k], footage[15]) for k in range(15))


def sounds_alike(one: np.ndarray, other: np.ndarray) -> float:
    """The highest correlation of two sounds shifted by up to 20 ms."""
    reach = round(0.02 * 16_000)
    n = min(len(one), len(other)) - 2 * reach
    middle = one[reach : reach + n]
    return max(float(np.corrcoef(middle, other[shift : shift + n])[0, 1]) for shift in range(2 * reach + 1))


def best_frame(image: np.ndarray, frames: list[np.ndarray]) -> int:
    return int(np.argmin([np.abs(image.astype(int) - frame).mean() for frame in frames]))


@pytest.fixture(scope="module")
def original():
    """obama_1 from its second 2 on, which cases are made from: its first frames and its sound."""
    with open_footage(DATA / "talking" / "obama_1.mp4") as footage:
        frames = [footage[k] for k in range(2 * FPS, 2 * FPS + 152)]
    return frames, read_waveform(DATA / "talking" / "obama_1.mp4").samples[2 * 16_000 :]


@needs_shared
def test_the_picture_starts_600_ms_after_the_sound(original):
    frames, sound = original
    path = CASES / "picture_starts_600ms_after_sound.mp4"
    voice = read_waveform(path)
    assert voice.duration_seconds == pytest.approx(6.0, abs=0.05)
    assert sounds_alike(voice.samples, sound) > 0.9
    with open_footage(path) as footage:
        assert len(footage) == 150
        for k in (20, 60, 100, 140):
            assert best_frame(footage[k], frames) == k
        assert np.array_equal(footage[0], footage[14])


@needs_shared
def test_a_pause_that_only_the_time_stamps_know_is_silence(original):
    voice = read_waveform(CASES / "sound_pauses_1s_by_timestamps.webm")
    assert voice.duration_seconds == pytest.approx(6.0, abs=0.05)
    assert np.abs(voice.samples[round(2.05 * 16_000) : round(2.95 * 16_000)]).max() < 1e-3
    for begin, end in ((0.0, 2.0), (3.1, 5.9)):
        part = slice(round(begin * 16_000), round(end * 16_000))
        assert sounds_alike(voice.samples[part], original[1][part]) > 0.9


@needs_shared
def test_joined_recordings_are_read_to_the_end():
    path = CASES / "ts_parts_joined.ts"
    voice = read_waveform(path)
    assert voice.duration_seconds == pytest.approx(6.0, abs=0.15)
    with open_footage(path) as footage:
        assert len(footage) == pytest.approx(150, abs=3)
        first, second = footage[20], footage[100]
    assert np.abs(first.astype(int) - second).mean() > 2, "the second part is another one"


@needs_shared
def test_the_last_frame_lasts_as_long_as_the_sound():
    path = CASES / "screen_recording_3_frames.webm"
    voice = read_waveform(path)
    with open_footage(path) as footage:
        assert len(footage) / footage.fps == pytest.approx(voice.duration_seconds, abs=0.5 / footage.fps)
        assert len({footage[k].tobytes() for k in range(len(footage))}) == 3


@needs_shared
def test_a_sound_track_that_can_be_decoded_is_taken(caplog):
    voice = read_waveform(CASES / "iphone16_apac.mov")
    assert voice.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert np.abs(voice.samples).max() > 0.05
    assert "audio stream 2 of iphone16_apac.mov cannot be decoded; another one is used" in caplog.text


@needs_shared
def test_channels_that_cancel_each_other_are_heard(caplog):
    voice = read_waveform(CASES / "voice_antiphase_stereo.wav")
    assert np.sqrt(np.mean(voice.samples**2)) > 0.01
    assert "the channels of voice_antiphase_stereo.wav cancel out; only the loudest one is used" in caplog.text


def test_one_wild_stamp_of_the_sound_makes_no_video_too_long(tmp_path):
    path = flash_and_beep(tmp_path / "wild.mkv", jump=8000.0)
    with open_footage(path) as footage:
        assert len(footage) == pytest.approx(4 * FPS, abs=2)
    assert read_waveform(path).duration_seconds == pytest.approx(4.0, abs=0.1)
