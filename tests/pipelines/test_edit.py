"""The photo editor with the embedded renderer; the effect of each slider is measured from landmarks."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from PIL import Image

from liveportrait_talker.cli.main import main
from liveportrait_talker.errors import OptionError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.options.sliders import sliders
from liveportrait_talker.pipelines.edit import EditOptions, Editor, EditSetup
from liveportrait_talker.render.embedded import renderer
from liveportrait_talker.render.embedded.limits import Limits

SLIDERS = [each for each in sliders(EditOptions) if each.name != "sample_ratio"]


@pytest.fixture(scope="module")
def session():
    return Editor().open(PORTRAIT, "embedded", EditSetup(max_size=512))


def measure(image) -> dict[str, float]:
    found = measure_faces(track(Footage.from_array("edited", image)))
    names = ("pitch", "yaw", "roll", "eye_left", "eye_right", "gaze_x", "gaze_y")
    values = (*found.rotation_deg[0], *found.eye_ratios[0], *found.gaze[0])
    mouth = dict(zip(("aperture", "width", "lips", "corners"), found.mouth[0], strict=True))
    return dict(zip(names, values, strict=True)) | mouth | {"brows": float(found.brow_height.mean())}


@pytest.fixture(scope="module")
def rest(session) -> dict[str, float]:
    return measure(session.picture)


def test_neutral_sliders_return_the_source(session):
    assert np.array_equal(session.draw(EditOptions()), open_footage(PORTRAIT, max_side=512)[0])
    session.draw(EditOptions(smile=1, blink=-20, pupil_x=9, eyebrow=9))
    assert np.array_equal(session.draw(EditOptions()), session.picture)
    almost = session.draw(EditOptions(smile=1e-9))
    assert np.abs(almost.astype(int) - session.picture).max() <= 1


def test_limited_motion_is_logged_once(caplog, monkeypatch):
    monkeypatch.setattr(renderer, "separate", lambda *_: "it is a test")  # with two layers, all of the range is drawn
    session = Editor().open(PORTRAIT, "embedded", EditSetup(max_size=320))
    caplog.clear()
    with caplog.at_level("WARNING"):
        session.draw(EditOptions(rotate_yaw=8, aaa=60))
        assert not caplog.records
        for yaw in (20, 19):
            session.draw(EditOptions(rotate_yaw=yaw))
    (note,) = (record.getMessage() for record in caplog.records)
    assert note.endswith("by at most 0, 10, 0° (pitch, yaw, roll), not by the requested 0, 20, 0°.")
    caplog.clear()
    limits = Limits(turn_share=1.0, aperture=0.0)
    with caplog.at_level("WARNING"):
        assert not limits.warn_about_opening(np.array([0.2, 0, 0, 0, 0]))
        assert limits.warn_about_opening(np.array([0.5, 0, 0, 0, 0]))
    assert "by the requested 50 %" in caplog.text


@pytest.mark.parametrize(
    ("edit", "moves"),
    [
        ({"rotate_pitch": 12}, {"pitch": 5}),
        ({"rotate_pitch": -12}, {"pitch": -5}),
        ({"rotate_yaw": 12}, {"yaw": 5}),
        ({"rotate_yaw": -12}, {"yaw": -5}),
        ({"rotate_roll": 12}, {"roll": 5}),
        ({"blink": -20}, {"eye_left": -0.1, "eye_right": -0.1}),
        ({"blink": 5}, {"eye_left": 0.01, "eye_right": 0.01}),
        ({"eyebrow": 15}, {"brows": 0.015}),
        ({"eyebrow": -10}, {"brows": -0.01}),
        ({"wink": 25}, {"eye_left": -0.1}),
        ({"pupil_x": 15}, {"gaze_x": 0.03}),
        ({"pupil_x": -15}, {"gaze_x": -0.03}),
        ({"aaa": 60}, {"aperture": 0.06}),
        ({"eee": 15}, {"width": 0.02}),
        ({"woo": 15}, {"width": -0.02}),
        ({"smile": 1.3}, {"corners": 0.02, "width": 0.02}),
    ],
    ids=lambda value: " ".join(f"{k} {v:g}" for k, v in value.items()),
)
def test_sliders_move_what_they_name(session, rest, edit, moves):
    made = measure(session.draw(EditOptions(**edit)))
    for name, least in moves.items():
        assert (made[name] - rest[name]) * np.sign(least) >= abs(least), name
    if edit == {"wink": 25}:
        assert made["eye_right"] > 0.7 * rest["eye_right"]


@pytest.mark.parametrize("slider", SLIDERS, ids=lambda each: each.name)
def test_each_slider_changes_the_image(session, slider):
    for value in {slider.metadata["low"], slider.metadata["high"]} - {slider.default}:
        assert not np.array_equal(session.draw(EditOptions(**{slider.name: value})), session.picture)


def test_preview_time(session):
    """The aim is a 95th percentile of 150 ms at 512 px; the bound leaves room for a busy machine."""
    milliseconds = []
    for k in range(30):
        start = time.perf_counter()
        session.draw(EditOptions(smile=k / 30, aaa=2 * k, rotate_yaw=k / 3, blink=-k / 3, pupil_x=k / 4, eyebrow=k / 3))
        milliseconds.append(1000 * (time.perf_counter() - start))
    assert np.percentile(milliseconds, 50) < 1000


@pytest.mark.parametrize(("name", "kind"), [("e.png", "PNG"), ("e.jpg", "JPEG"), ("e.webp", "WEBP")])
def test_images_are_written_and_tagged(tmp_path, capsys, name, kind):
    out = tmp_path / name
    words = ["edit", str(PORTRAIT), "-o", str(out), "--smile", "1", "--yaw", "-5", "--renderer", "embedded"]
    assert main([*words, "--max-size", "400", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["renderer"], report["frames"], report["size"]) == ("embedded", 1, [400, 400])
    assert report["edit"]["rotate_yaw"] == -5
    with Image.open(out) as image:
        assert image.format == kind and image.size == (400, 400)
        title = image.text["Title"] if kind == "PNG" else str(image.getexif()[0x010E])
        assert "AI-generated" in title
    assert main(words) == 2 and "exists already" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    assert "drawn by the embedded renderer" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_sample_expression_is_copied(session, rest, tmp_path):
    sample = tmp_path / "sample.png"
    Image.fromarray(session.draw(EditOptions(aaa=80, blink=-20, rotate_yaw=10))).save(sample)
    copied = measure(session.draw(EditOptions(sample=sample)))
    assert copied["aperture"] > rest["aperture"] + 0.05 and copied["eye_left"] < 0.6 * rest["eye_left"]
    mouth = measure(session.draw(EditOptions(sample=sample, sample_parts="mouth")))
    assert mouth["aperture"] > rest["aperture"] + 0.05 and mouth["eye_left"] > 0.8 * rest["eye_left"]
    turned = measure(session.draw(EditOptions(sample=sample, sample_parts="rotation")))
    assert turned["yaw"] > rest["yaw"] + 3 and abs(turned["aperture"] - rest["aperture"]) < 0.03
    half = measure(session.draw(EditOptions(sample=sample, sample_ratio=0.5, sample_parts="mouth")))
    assert rest["aperture"] < half["aperture"] < mouth["aperture"]


def test_changed_sample_file_is_read_again(session, tmp_path):
    sample = tmp_path / "sample.png"
    image, edit = Image.fromarray(session.picture), EditOptions(sample=sample)
    image.save(sample)
    before = session.draw(edit)
    Image.fromarray(session.draw(EditOptions(aaa=60))).save(sample)
    os.utime(sample, (1, 1))  # the two writes may have the same time
    assert np.abs(session.draw(edit).astype(int) - before).max() > 20


def test_invalid_calls_are_one_line_errors(tmp_path, capsys):
    grey, out = tmp_path / "grey.png", tmp_path / "out.png"
    Image.new("RGB", (200, 200), (90, 90, 90)).save(grey)
    for words, expected in (
        ([tmp_path / "none.png"], "does not exist"),
        ([grey], "no face found"),
        ([PORTRAIT, "--smile", "2"], "--smile 2.0 is out of range: give -0.3 … 1.3"),
        ([PORTRAIT, "--sample-ratio", "0.5"], "add --sample"),
        ([PORTRAIT, "--sample", grey], "no face found in grey.png"),
        ([PORTRAIT, "--sample", tmp_path / "no.png"], "does not exist"),
        ([PORTRAIT, "--renderer", "embedded", "--no-stitching"], "--no-stitching is about the neural"),
        ([PORTRAIT, "--keyframes", tmp_path / "k.json"], "must end in .mp4"),
        ([PORTRAIT, "--face", "7"], "--face 7"),
    ):
        if "--keyframes" in words:
            (tmp_path / "k.json").write_text('[{"time": 0}]')
        assert main(["edit", *map(str, words), "-o", str(out)]) == 2, words
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("error: ") and expected in message, (words, message)
        assert not out.exists()
    assert main(["edit", str(grey), "-o", str(grey), "--overwrite"]) == 2
    assert "would be lost" in capsys.readouterr().err
    for wrong in ({"smile": "wide"}, {"blink": float("nan")}, {"sample_parts": "nose"}):
        with pytest.raises(OptionError):
            EditOptions(**wrong)
