"""What a viewer would notice, measured by independent tools on recordings of people (docs/method/measurements.md).

The media and tools are not part of the repository: see `shared`. `test_quality.py` runs everywhere.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.face.mouth_offsets import subtract_source_mouth
from liveportrait_talker.media import Waveform
from liveportrait_talker.motion import MouthControls
from liveportrait_talker.scoring.correlation import correlation
from shared import DATA, load_tool, needs_shared, portrait

pytestmark = needs_shared
MOTIONLESS = TalkOptions(still=True, blink=False, gaze="still")
LONG_PAUSES = DATA / "voices" / "en_long_pauses.wav"


@pytest.fixture
def render(tmp_path):
    """Make a video and measure the face in each frame."""

    def make(source: Path, voice: Path, options: TalkOptions, driver=None):
        out = tmp_path / "out.mp4"
        Talker(driver=driver).save(source, voice, out, options, overwrite=True)
        return load_tool("face_tracks").extract(str(out))

    return make


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Make a video and compare it with its source, its sound and a true clip."""

    def make(source: Path, voice: Path, options: TalkOptions, **more):
        out, tracks = tmp_path / "out.mp4", {}
        Talker().save(source, voice, out, options, overwrite=True)
        tool = load_tool("face_tracks")
        extract = tool.extract

        def keep(path: str, *given, **named):
            tracks[path] = extract(path, *given, **named)
            return tracks[path]

        with monkeypatch.context() as patch:
            patch.setattr(tool, "extract", keep)
            figures = load_tool("sync_score").score(str(out), source=str(source), **more)
        return figures | {"track": tracks[str(out)]}

    return make


class FixedMouth:
    """A driver that returns a given mouth (T, 5) at 25 fps, with the last value held."""

    def __init__(self, mouth):
        self.mouth = mouth

    def drive(self, voice: Waveform, source, fps: float) -> MouthControls:
        frames = voice.frame_count(fps)
        return subtract_source_mouth(self.mouth[np.minimum(np.arange(frames), len(self.mouth) - 1)], source, fps)


def load_tracks(clip: str):
    with np.load(DATA / "talking" / "tracks" / f"{clip}.npz") as data:
        return {k: data[k] for k in data.files}


def test_given_apertures_are_drawn(render):
    aperture = np.maximum(np.nan_to_num(load_tracks("aoc")["aperture"]), 0)
    mouth = np.zeros((len(aperture), 5))
    mouth[:, 0] = aperture
    made = render(portrait("dark_skin"), DATA / "talking" / "aoc.mp4", MOTIONLESS, FixedMouth(mouth))["aperture"]
    assert correlation(aperture, made) >= 0.95
    n = min(len(aperture), len(made))
    assert np.polyfit(aperture[:n], made[:n], 1)[0] == pytest.approx(1.0, abs=0.15)


def test_mouth_moves_in_time_with_the_voice(score):
    figures = score(
        portrait("frontal_photo"),
        DATA / "talking" / "grid_pwij3p.mp4",
        TalkOptions(),
        ref=str(DATA / "talking" / "tracks" / "grid_pwij3p.npz"),
    )
    assert figures["r_aperture0"] >= 0.55
    assert abs(figures["lag_ms"]) <= 40
    assert abs(figures["av_diff_ms"]) <= 40


def test_mouth_rests_in_pauses_and_eyes_blink(score):
    figures = score(portrait("frontal_photo"), LONG_PAUSES, TalkOptions(still=True))
    track = figures["track"]
    assert figures["aperture_silence"] <= 0.03 and figures["silence_motion"] <= 0.01
    assert 0.10 <= np.nanpercentile(track["aperture"], 95) <= 0.22
    assert figures["bg_psnr_db"] >= 42 and 0.85 <= figures["sharpness"] <= 1.15
    assert 15 <= figures["blinks_per_min"] <= 30 and 80 <= figures["blink_ms"] <= 250
    openness = (track["eye_l"] + track["eye_r"]) / 2
    assert np.nanmin(openness) <= 0.35 * np.nanpercentile(openness, 75)
    assert (openness[:12] > 0.65 * np.median(openness)).all(), "no blink in the first half second"


def test_parted_lips_close_in_silence(render):
    made = render(portrait("dark_skin"), DATA / "bad" / "silence_2s.wav", MOTIONLESS)["aperture"]
    assert np.nanmax(made) <= 0.03


def test_head_moves_as_far_and_as_fast_as_human_heads(score):
    figures = score(portrait("dark_skin"), DATA / "voices" / "en_man.wav", TalkOptions())
    assert 1.5 <= figures["yaw_std"] <= 4 and 1 <= figures["pitch_std"] <= 3 and 1 <= figures["roll_std"] <= 3.5
    assert 5 <= figures["pose_speed"] <= 15


def test_head_follows_a_reference_video(render, monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "cache"))
    reference = DATA / "driving" / "head_turns.mp4"
    options = TalkOptions(ref_head_pose=reference, ref_frames_from_zero=True, blink=False, gaze="still")
    track = render(portrait("dark_skin"), DATA / "voices" / "en_man.wav", options)
    wanted = load_tool("face_tracks").extract(str(reference))
    for axis in ("yaw", "pitch", "roll"):
        assert correlation(wanted[axis], track[axis]) >= 0.9
    assert len(list((tmp_path / "cache" / "poses").iterdir())) == 1


def test_pupils_turn_by_the_requested_angle(render):
    silence = DATA / "bad" / "silence_2s.wav"
    medians = []
    for x in (-12.0, -6.0, 0.0, 6.0, 12.0):
        options = dataclasses.replace(MOTIONLESS, pupil_x=x, fps=10)
        track = render(portrait("bright_skin"), silence, options)
        medians.append((np.nanmedian(track["gaze_x"]), np.nanmedian(track["eye_l"] + track["eye_r"]) / 2))
    gaze, lids = np.array(medians).T
    assert (np.diff(gaze) > 0.01).all()
    assert np.ptp(lids) < 0.06


def test_dubbed_video_keeps_its_head_and_gets_a_new_mouth(score):
    source = DATA / "talking" / "aoc.mp4"
    voice = DATA / "talking" / "grid_pwij3p.mp4"
    figures = score(source, voice, TalkOptions(), ref=str(DATA / "talking" / "tracks" / "grid_pwij3p.npz"))
    for axis in ("yaw", "pitch", "roll"):
        assert correlation(load_tracks("aoc")[axis], figures["track"][axis]) >= 0.85
    assert figures["r_aperture0"] >= 0.45
