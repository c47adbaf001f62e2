"""Keyframe files, and interpolation between keyframes."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from liveportrait_talker.cli.main import main
from liveportrait_talker.errors import OptionError, TalkerError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.options.edit import EditOptions, EditSetup
from liveportrait_talker.pipelines.edit import Editor
from liveportrait_talker.pipelines.edit_keyframes import Keyframe, edits, frame_count, read_keyframes


def test_json_and_csv_are_equivalent(tmp_path):
    (tmp_path / "k.json").write_text(json.dumps([{"time": 1, "smile": 1}, {"time": 0, "rotate-yaw": 5, "smile": 0}]))
    (tmp_path / "k.csv").write_text("time,smile,rotate_yaw\n0,0,5\n1,1,\n")
    wanted = (Keyframe(0, {"smile": 0, "rotate_yaw": 5}), Keyframe(1, {"smile": 1}))
    assert read_keyframes(tmp_path / "k.json") == read_keyframes(tmp_path / "k.csv") == wanted
    (tmp_path / "k.csv").write_text("time;smile;yaw\n0;0;5,0\n1,0;1;\n")
    assert read_keyframes(tmp_path / "k.csv") == wanted


def test_files_keep_the_signs_of_earlier_releases(tmp_path):
    """In files, pitch + is down and roll + clockwise; the options have the opposite signs."""
    (tmp_path / "k.json").write_text(json.dumps([{"time": 0, "pitch": 8, "rotate_roll": -3, "yaw": 2}]))
    assert read_keyframes(tmp_path / "k.json") == (
        Keyframe(0, {"rotate_pitch": -8.0, "rotate_roll": 3.0, "rotate_yaw": 2.0}),
    )


def test_values_ease_between_keyframes():
    frames = (Keyframe(0.4, {"smile": 0}), Keyframe(1, {"blink": -10}), Keyframe(1.4, {"smile": 1}))
    made = list(edits(frames, EditOptions(aaa=7), 10))
    assert len(made) == frame_count(frames, 10) == 16
    smile = np.array([edit.smile for edit in made])
    assert (smile[:5] == 0).all() and (smile[14:] == 1).all() and smile[9] == pytest.approx(0.5)
    steps = np.diff(smile[4:15])
    assert (steps > 0).all() and steps[0] < steps[4] and steps[-1] < steps[4]  # slow at both ends
    assert all(edit.blink == -10 and edit.aaa == 7 for edit in made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "neither JSON nor CSV"),
        ("{}", "must be a list"),
        ("[]", "must be a list"),
        ("[1]", "must be a list"),
        ('[{"smile": 1}]', "needs a time"),
        ('[{"time": -1}]', "needs a time"),
        ('[{"time": 99999}]', "needs a time"),
        ('[{"time": 0, "grin": 1}]', "'grin', which is no slider"),
        ('[{"time": 0, "smile": 9}]', "--smile 9.0 is out of range"),
        ('[{"time": 0, "smile": NaN}]', "out of range"),
        ('[{"time": 0, "sample_ratio": 9}]', "out of range"),
        ('[{"time": 0, "smile": "wide"}]', "is not a number"),
        ('[{"time": 0, "smile": null}]', "is not a number"),
        ("[" * 100_000, "neither JSON nor CSV"),
        ('[{"time": 0, "smile": ' + "[" * 400 + "]" * 400 + "}]", "is not a number"),
        ('[{"time": 0, "smile": ' + "9" * 400 + "}]", "is not a number"),
        ('[{"time": 0, "smile": ' + "9" * 5000 + "}]", "neither JSON nor CSV"),
        ('[{"time": NaN}]', "needs a time"),
        ('[{"time": 0, "smile": 1, "smile": 0}]', "twice"),
        ('[{"time": 0, "yaw": 1, "rotate_yaw": 0}]', "twice"),
    ],
)
def test_invalid_files_are_refused(tmp_path, text, expected):
    path = tmp_path / "k.json"
    path.write_text(text)
    with pytest.raises(TalkerError) as caught:
        read_keyframes(path)
    assert expected in str(caught.value) and "k.json" in str(caught.value)
    with pytest.raises(TalkerError, match="there is no keyframe file"):
        read_keyframes(tmp_path / "none.json")


def test_command_line(tmp_path, capsys):
    keys, out = tmp_path / "k.json", tmp_path / "clip.mp4"
    keys.write_text(json.dumps([{"time": 0, "smile": 0, "rotate_yaw": 0}, {"time": 0.5, "smile": 1, "rotate_yaw": 9}]))
    words = ["edit", str(PORTRAIT), "--keyframes", str(keys), "-o", str(out), "--max-size", "320", "--fps", "10"]
    assert main([*words, "--renderer", "embedded", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["size"], report["renderer"]) == (7, [320, 320], "embedded")
    with av.open(str(out)) as file:
        assert "AI-generated" in file.metadata["title"] and not file.streams.audio
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
    assert len(frames) == 7 and np.abs(frames[0] - frames[5]).mean() > np.abs(frames[5] - frames[6]).mean()


def test_a_clip_has_a_limit(tmp_path: Path):
    """38 bytes asked for 432,000 frames."""
    (tmp_path / "k.json").write_text('[{"time": 0}, {"time": 3600, "smile": 1}]')
    setup = EditSetup(max_seconds=600)
    with pytest.raises(OptionError, match="a clip of 3600 seconds, the limit is 600"):
        Editor().save(tmp_path / "none.png", tmp_path / "a.mp4", setup=setup, keyframes=tmp_path / "k.json")


def test_a_column_may_not_be_there_twice(tmp_path):
    path = tmp_path / "k.csv"
    path.write_text("time,smile,smile\n0,1,0\n")
    with pytest.raises(TalkerError, match=r"k\.csv names one of time, smile, smile twice"):
        read_keyframes(path)
