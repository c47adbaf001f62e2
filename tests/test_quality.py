"""What a viewer would notice, measured on videos of the bundled example (docs/method/measurements.md, The eight bars).

These tests run on every installation. `test_quality_real_clips.py` has the same bars on recordings of people.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.audio.loudness import frame_loudness_db
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.face.mouth_offsets import subtract_source_mouth
from liveportrait_talker.media import VideoWriter, open_footage, read_waveform
from liveportrait_talker.scoring.blinks import find_blinks
from liveportrait_talker.scoring.correlation import correlation
from liveportrait_talker.scoring.envelope import silent_frames
from liveportrait_talker.scoring.head import head_speed
from measuring import FaceTracks, background_psnr_db, lag_ms, measure_frames, measure_video, relative_sharpness
from sounds import syllables, write_wav

SIDE = 320  # px: 76 px between the eyes
FPS = 25.0
MOTIONLESS = {"still": True, "blink": False, "gaze": "still"}


class FixedMouth:
    """A driver that returns a given aperture (T,)."""

    def __init__(self, aperture):
        self.mouth = np.zeros((len(aperture), 5))
        self.mouth[:, 0] = aperture

    def drive(self, voice, source, fps):
        assert voice.frame_count(fps) == len(self.mouth)
        return subtract_source_mouth(self.mouth, source, fps)


def talk(out: Path, source: Path, voice: Path, driver=None, **options) -> FaceTracks:
    """Make a video with the embedded renderer, and measure the file."""
    options = {"renderer": "embedded", "max_size": SIDE} | options
    Talker(driver=driver).save(source, voice, out, TalkOptions(**options), overwrite=True)
    return measure_video(out)


def encode_unchanged(out: Path, image, frames: int) -> FaceTracks:
    """Write a video that shows one image, and measure the file."""
    quality = TalkOptions().quality
    with VideoWriter(
        out, size=(SIDE, SIDE), fps=FPS, voice=None, frame_count=frames, crf=quality, title="", comment=""
    ) as video:
        for _ in range(frames):
            video.write(image)
    return measure_video(out)


@pytest.fixture(scope="module")
def portrait() -> FaceTracks:
    return measure_frames([open_footage(PORTRAIT, max_side=SIDE)[0]])


@pytest.fixture(scope="module")
def talking(tmp_path_factory) -> FaceTracks:
    """The example with default options: 7.4 s with three pauses."""
    return talk(tmp_path_factory.mktemp("talking") / "out.mp4", PORTRAIT, VOICE)


@pytest.fixture(scope="module")
def loudness():
    return frame_loudness_db(read_waveform(VOICE), FPS)


@pytest.fixture(scope="module")
def driving(driving_clip) -> FaceTracks:
    return measure_video(driving_clip)


@pytest.fixture
def silence(tmp_path) -> Path:
    return write_wav(tmp_path / "silence.wav", np.zeros(6400))  # 0.4 s


def test_given_apertures_are_drawn_and_the_background_stays(tmp_path, portrait):
    t = np.arange(50) / FPS
    aperture = (0.10 + 0.08 * np.sin(2 * np.pi * 0.6 * t)) * np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    voice = write_wav(tmp_path / "voice.wav", syllables(2))
    made = talk(tmp_path / "out.mp4", PORTRAIT, voice, FixedMouth(aperture), **MOTIONLESS)
    assert correlation(aperture, made.aperture) >= 0.95
    assert np.polyfit(aperture, made.aperture, 1)[0] == pytest.approx(1.0, abs=0.15)
    assert 0.85 <= relative_sharpness(made, portrait) <= 1.15
    # An image this small loses more than 42 dB to H.264 alone: compare with the same image encoded unchanged.
    unchanged = encode_unchanged(tmp_path / "unchanged.mp4", portrait.frames[0], frames=10)
    encoded = background_psnr_db(unchanged, portrait)
    assert encoded >= 36 and background_psnr_db(made, portrait) >= encoded - 0.5


def test_mouth_moves_in_time_with_the_voice(talking, loudness):
    assert len(talking.frames) == len(loudness) and talking.fps == FPS
    assert correlation(talking.aperture, loudness) >= 0.55
    assert abs(lag_ms(talking.aperture, loudness, FPS)) <= 40


def test_mouth_rests_in_pauses_and_opens_in_speech(talking, loudness):
    silent = silent_frames(loudness, FPS)
    assert silent.sum() >= 20
    assert talking.aperture[silent].mean() <= 0.03 and talking.aperture[silent].std() <= 0.01
    assert 0.10 <= np.percentile(talking.aperture, 95) <= 0.22


def test_eyes_blink_as_often_and_as_long_as_human_eyes(talking):
    blinks = find_blinks(talking.eyes, FPS)
    assert 15 <= 60 * len(blinks) * FPS / len(talking.eyes) <= 30
    assert 80 <= np.mean([1000 * (end - first) / FPS for first, end in blinks]) <= 250
    assert talking.eyes.min() <= 0.35 * np.percentile(talking.eyes, 75)
    assert (talking.eyes[:12] > 0.65 * np.median(talking.eyes)).all(), "a blink in the first half second"


def test_face_is_as_sharp_as_the_source(talking, portrait):
    assert 0.85 <= relative_sharpness(talking, portrait) <= 1.15


def test_parted_lips_close_in_silence(tmp_path, portrait, silence):
    assert portrait.aperture[0] > 0.1
    assert talk(tmp_path / "out.mp4", PORTRAIT, silence, **MOTIONLESS).aperture.max() <= 0.03


def test_head_moves_as_far_and_as_fast_as_human_heads(talking):
    pitch, yaw, roll = talking.rotation_deg.std(axis=0)
    assert 1.5 <= yaw <= 4 and 1 <= pitch <= 3 and 1 <= roll <= 3.5
    assert 5 <= head_speed(talking.rotation_deg, FPS) <= 15


def test_head_follows_a_reference_video(tmp_path, driving_clip, driving, monkeypatch):
    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "cache"))
    voice = write_wav(tmp_path / "voice.wav", syllables(1.6))
    reference = {"ref_head_pose": driving_clip, "ref_frames_from_zero": True}
    made = talk(tmp_path / "out.mp4", PORTRAIT, voice, blink=False, gaze="still", **reference)
    for axis in range(3):
        assert correlation(driving.rotation_deg[:, axis], made.rotation_deg[:, axis]) >= 0.9
    assert len(list((tmp_path / "cache" / "poses").iterdir())) == 1


def test_pupils_turn_by_the_requested_angle(tmp_path, silence):
    gaze, lids = [], []
    for pupil_x in (-12.0, -6.0, 0.0, 6.0, 12.0):
        made = talk(tmp_path / "out.mp4", PORTRAIT, silence, **MOTIONLESS, pupil_x=pupil_x, fps=5)
        gaze.append(np.median(made.gaze_x))
        lids.append(np.median(made.eyes))
    assert (np.diff(gaze) > 0.01).all()
    assert np.ptp(lids) < 0.06


def test_dubbed_video_keeps_its_head_and_gets_a_new_mouth(tmp_path, driving_clip, driving):
    samples = read_waveform(VOICE).samples[round(1.1 * 16_000) : round(2.7 * 16_000)]
    voice = write_wav(tmp_path / "voice.wav", samples)
    made = talk(tmp_path / "out.mp4", driving_clip, voice)
    for axis in range(3):
        assert correlation(driving.rotation_deg[:, axis], made.rotation_deg[:, axis]) >= 0.85
    wanted = SignalDriver().mouth(read_waveform(voice), FPS)[:, 0]
    assert correlation(wanted, made.aperture) >= 0.8
    assert correlation(driving.aperture, made.aperture) < 0.5
