"""Expressions of `generate`: options → motion track, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker import MediaError, MotionTrack, OptionError, Talker, TalkOptions
from liveportrait_talker.cli.main import main
from liveportrait_talker.driving.sliders import build_slider_track
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.media import VideoWriter, open_footage
from sounds import write_wav


class Recorder:
    """A renderer that draws nothing and keeps its input."""

    name = "recorder"

    def prepare(self, source):
        return self

    def frames(self, track: MotionTrack):
        self.track = track
        return iter(())


def motion(source: Path = PORTRAIT, voice: Path = VOICE, **options) -> MotionTrack:
    recorder = Recorder()
    assert not list(Talker(renderer=recorder).frames(source, voice, TalkOptions(driver="signal", **options)))
    return recorder.track


@pytest.fixture(scope="module")
def plain() -> MotionTrack:
    return motion(liveliness=0.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    image = np.array(open_footage(PORTRAIT, max_side=256)[0])
    with VideoWriter(path, size=(256, 256), fps=25, voice=None, frame_count=8, comment="", title="") as writer:
        for _ in range(8):
            writer.write(image)
    return path


def keys_file(folder: Path, *frames: dict) -> Path:
    path = folder / "keys.json"
    path.write_text(json.dumps(frames))
    return path


def test_keyframes_after_the_voice_are_noted(tmp_path, caplog):
    keys = keys_file(tmp_path, {"time": 0, "smile": 0}, {"time": 9, "smile": 1})
    motion(liveliness=0.0, expression_keys=keys)
    assert "keys.json goes on to 9.0 s, the video ends after 7.4 s." in caplog.text


def test_liveliness_moves_brows_and_lids_alone(plain):
    assert not (plain.brows.any() or plain.inner_brows.any() or plain.smile.any())
    lively, livelier = motion(), motion(liveliness=2.0)
    np.testing.assert_array_equal(lively.head.rotation_deg, plain.head.rotation_deg)
    np.testing.assert_array_equal(lively.gaze, plain.gaze)
    np.testing.assert_array_equal(lively.mouth.values, plain.mouth.values)
    np.testing.assert_array_equal(lively.breath, plain.breath)
    shut = plain.blink > 0.99
    assert shut.any() and (lively.blink[shut] > 0.98).all(), "blinks shut the eyes as before"
    assert 0.003 < lively.brows.std() < 0.02 and lively.blink.min() < -0.02
    np.testing.assert_allclose(livelier.brows, 2 * lively.brows, atol=1e-6)
    np.testing.assert_array_equal(motion().brows, lively.brows)
    assert np.abs(motion(seed=1).brows - lively.brows).max() > 0.004


def test_presets_sliders_and_keyframes_are_added(plain, tmp_path):
    keys = keys_file(tmp_path, {"time": 0, "smile": 0, "eyebrow": 0}, {"time": 2, "smile": 0.5, "eyebrow": 6})
    given = motion(liveliness=0.0, expression="happy:0.5", smile=0.2, eyebrow=3.0, expression_keys=keys)
    happy = motion(liveliness=0.0, expression="happy:0.5")
    constant = build_slider_track({"smile": np.array([0.2, 0.7]), "eyebrow": np.array([3.0, 9.0])}, 25)
    for channel in ("smile", "brows"):
        change = getattr(given, channel) - getattr(happy, channel)
        np.testing.assert_allclose(change[[0, -1]], getattr(constant, channel), atol=1e-6)
    np.testing.assert_array_equal(given.gaze, plain.gaze)
    nodding = motion(liveliness=0.0, aaa=60.0, wink=9.0)  # which turn the head in edit
    np.testing.assert_array_equal(nodding.head.rotation_deg, plain.head.rotation_deg)


def test_sums_stay_in_the_range_of_the_slider(tmp_path):
    keys = keys_file(tmp_path, {"time": 0, "smile": 1.3})
    wide = motion(liveliness=0.0, smile=1.0, expression_keys=keys)
    np.testing.assert_allclose(wide.smile, build_slider_track({"smile": np.array([1.3])}, 25).smile[0])


def test_all_sliders_act_in_keyframes(plain, tmp_path):
    values = {"rotate_pitch": 4, "yaw": 6, "roll": 5, "blink": -10, "wink": 5, "pupil_x": 6, "pupil_y": -5}
    values |= {"eyebrow": -8, "eee": 10, "woo": -9, "smile": 1, "aaa": 30}
    track = motion(liveliness=0.0, expression_keys=keys_file(tmp_path, {"time": 1, **values}))
    turn = (track.head.rotation_deg - plain.head.rotation_deg).mean(axis=0)
    assert turn[0] < -2 and turn[1] > 5 and turn[2] < -4, "as in edit: + is down, right, clockwise"
    moved = track.gaze - plain.gaze
    assert np.median(moved[:, 0]) == pytest.approx(0.4) and np.median(moved[:, 1]) == pytest.approx(-1 / 3)
    assert (track.blink[:, 0] >= track.blink[:, 1]).all() and track.blink.min() > 0.4
    assert track.brows.max() < 0 < track.smile.min()
    assert (track.mouth.values[:, 1] > plain.mouth.values[:, 1] + 0.05).all()


def test_keyframes_move_a_listening_face(tmp_path):
    """A silent voice: brows follow nothing, keyframes open the mouth."""
    silence = write_wav(tmp_path / "silence.wav", np.zeros(32_000))
    keys = keys_file(tmp_path, {"time": 0.5, "aaa": 0, "smile": 0}, {"time": 1, "aaa": 60, "smile": 1})
    track = motion(voice=silence, expression_keys=keys)
    opened = track.mouth.values[:, 0] - track.mouth.values[0, 0]
    assert opened[:12].max() < 1e-6 and opened[30:].min() > 0.1 and track.smile[-1] > 0.05
    assert not track.brows.any()


def test_a_source_video_keeps_its_own_face(clip, tmp_path):
    track = motion(source=clip)
    assert not (track.brows.any() or track.blink.any())
    smiling = motion(source=clip, smile=0.5, wink=10.0)
    assert smiling.smile.min() > 0 and not smiling.head.rotation_deg.any()
    with pytest.raises(OptionError, match=r"--liveliness is for a picture"):
        motion(source=clip, liveliness=2.0)
    with pytest.raises(OptionError, match=r"rotate_yaw in keys.json is for a picture"):
        motion(source=clip, expression_keys=keys_file(tmp_path, {"time": 0, "yaw": 3}))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"expression": "grumpy"}, "--expression grumpy is not known: choose one of happy, sad"),
        ({"expression": "sad:2"}, "--expression sad:2 has no amount from 0 to 1"),
        ({"expression": "sad:"}, "has no amount"),
        ({"expression": "sad:nan"}, "has no amount"),
        ({"expression": 3}, "is not text"),
        ({"liveliness": 3.0}, "--liveliness 3.0 is out of range"),
        ({"smile": 2.0}, "--smile 2.0 is out of range"),
        ({"eye_opening": 9.0}, "--eye-opening 9.0 is out of range"),
        ({"wink": -1.0}, "--wink -1.0 is out of range"),
    ],
)
def test_values_that_make_no_sense(options, expected):
    with pytest.raises(OptionError) as caught:
        TalkOptions(**options)
    assert expected in str(caught.value)


def test_keyframe_files_are_checked_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("liveportrait_talker.pipelines.talk.find_face", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(MediaError, match="no keyframe file"):
        motion(expression_keys=tmp_path / "none.json")
    for values, expected in (({"sample_ratio": 1}, "sample_ratio in keys.json is for edit alone"), ({"grin": 1}, "gr")):
        with pytest.raises(OptionError, match=expected):
            motion(expression_keys=keys_file(tmp_path, {"time": 0, **values}))


def test_command_line(tmp_path, capsys):
    voice = write_wav(tmp_path / "v.wav", np.zeros(4000))
    out = tmp_path / "out.mp4"
    words = ["generate", str(PORTRAIT), str(voice), "-o", str(out), "--max-size", "256", "--renderer", "embedded"]
    assert main([*words, "--expression", "grumpy"]) == 2 and not out.exists()
    assert capsys.readouterr().err == (
        "error: --expression grumpy is not known: choose one of happy, sad, angry, surprised, calm.\n"
    )
    assert main([*words, "--expression", "sad:0.5", "--smile", "-0.1", "--eye-opening", "-2", "--liveliness", "0"]) == 0
    assert out.exists()
