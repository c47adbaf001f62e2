"""Reenactment by the embedded renderer: the command line, and measurements of the result."""

from __future__ import annotations

import json
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from liveportrait_talker.cli.main import main
from liveportrait_talker.errors import MediaError, OptionError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion.face_measurements import MEASUREMENT_SHAPES, FaceMeasurements
from liveportrait_talker.motion.template import SHAPES, MotionTemplate, Template, load_template, save_template
from liveportrait_talker.pipelines import animate
from liveportrait_talker.pipelines.animate import AnimateOptions, Animator
from liveportrait_talker.pipelines.driving_clip import open_driving
from liveportrait_talker.scoring.correlation import correlation
from measuring import measure_frames, measure_video
from shared import DATA, load_tool, needs_shared, portrait

EMBEDDED = ("--renderer", "embedded", "--max-size", "384")


def test_command_line(driving_clip, tmp_path, capsys):
    out, template = tmp_path / "out.mp4", tmp_path / "motion.npz"
    words = ["animate", str(PORTRAIT), str(driving_clip), "-o", str(out), "--save-template", str(template), *EMBEDDED]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["renderer"], report["frames"], report["fps"]) == ("embedded", 40, 25.0)
    assert report["sound"] is True and report["template"] == str(template)
    with av.open(str(out)) as file:
        assert "AI-generated" in file.metadata["title"] and "(embedded renderer)" in file.metadata["comment"]
        assert file.streams.audio and float(file.duration) / 1e6 == pytest.approx(1.6, abs=0.1)
    made, driving = measure_video(out), measure_video(driving_clip)
    assert correlation(made.yaw, driving.yaw) >= 0.9
    assert correlation(made.pitch, driving.pitch) >= 0.9
    assert correlation(made.aperture, driving.aperture) >= 0.8
    assert correlation(made.eyes, driving.eyes) >= 0.8
    stored = load_template(template)
    assert stored.networks is None and len(stored) == 40
    assert main([*words]) == 2
    assert "exists already" in capsys.readouterr().err
    # The template gives the same motion, without sound.
    assert main(["animate", str(PORTRAIT), str(template), "-o", str(out), "--overwrite", *EMBEDDED]) == 0
    printed = capsys.readouterr().out
    assert "40 frames" in printed and "without sound" in printed and "embedded renderer" in printed
    options = AnimateOptions(renderer="embedded", max_size=384)
    from_video, from_template = (list(Animator().frames(PORTRAIT, d, options)) for d in (driving_clip, template))
    assert all(np.array_equal(a, b) for a, b in zip(from_video, from_template, strict=True))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("region", ["all", "exp", "pose", "lip", "eyes"])
def test_region_selects_what_moves(driving_clip, region):
    options = AnimateOptions(renderer="embedded", max_size=384, animation_region=region)
    made = measure_frames(list(Animator().frames(PORTRAIT, driving_clip, options)))
    assert (np.ptp(made.yaw) > 6) == (region in ("all", "pose"))
    assert (np.ptp(made.aperture) > 0.04) == (region in ("all", "exp", "lip"))
    assert (np.ptp(made.eyes) > 0.1) == (region in ("all", "exp", "eyes"))


def test_driving_multiplier_and_frame_rate(driving_clip):
    def animate(**more):
        options = AnimateOptions(renderer="embedded", max_size=384, **more)
        return list(Animator().frames(PORTRAIT, driving_clip, options))

    still = animate(driving_multiplier=0.0, fps=5)
    assert len(still) == 8
    image = open_footage(PORTRAIT, max_side=384)[0]
    assert all(np.array_equal(frame, image) for frame in still)
    full, half = (float(np.ptp(measure_frames(animate(driving_multiplier=m)).yaw)) for m in (1.0, 0.5))
    assert half == pytest.approx(0.5 * full, rel=0.35)


def test_video_source(driving_clip):
    options = AnimateOptions(renderer="embedded", animation_region="lip", fps=10)
    frames = list(Animator().frames(driving_clip, driving_clip, options))
    assert len(frames) == 16 and np.ptp(measure_frames(frames).aperture) > 0.04


def test_image_driven_by_an_image(driving_clip, tmp_path, capsys):
    out = tmp_path / "out.png"
    with open_footage(driving_clip) as footage:
        driving = tmp_path / "driving.png"
        Image.fromarray(footage[5]).save(driving)  # the mouth is open
    assert main(["animate", str(PORTRAIT), str(driving), "-o", str(out), "--absolute-motion", *EMBEDDED]) == 0
    with Image.open(out) as image:
        assert image.size[0] <= 384 and "AI-generated" in image.text["Comment"]
    assert track(open_footage(out)).faces[0].aperture > 0.05
    assert main(["animate", str(PORTRAIT), str(driving), "-o", str(tmp_path / "out.mp4"), *EMBEDDED]) == 2
    assert "rename the output" in capsys.readouterr().err
    assert main(["animate", str(PORTRAIT), str(driving_clip), "-o", str(tmp_path / "clip.png"), *EMBEDDED]) == 2


def test_invalid_calls_are_one_line_errors(driving_clip, tmp_path, capsys):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    grey = tmp_path / "grey.png"
    Image.new("RGB", (200, 200), (90, 90, 90)).save(grey)
    (tmp_path / "bad.npz").write_bytes(b"PK")
    (tmp_path / "bad.pkl").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    out = tmp_path / "out.mp4"
    for words, expected in (
        ([PORTRAIT, tmp_path / "none.mp4"], "does not exist"),
        ([PORTRAIT, text], "cannot be read|can be read"),
        ([PORTRAIT, grey, "--absolute-motion"], "no face found|rename the output"),
        ([grey, driving_clip], "no face found"),
        ([PORTRAIT, tmp_path / "bad.npz"], "not a motion template"),
        ([PORTRAIT, tmp_path / "bad.pkl"], "not read as a motion template"),
        ([PORTRAIT, driving_clip, "--driving-multiplier", "3"], "out of range"),
        ([PORTRAIT, driving_clip, "--animation-region", "nose"], "choose one of"),
        ([PORTRAIT, driving_clip, "--renderer", "embedded", "--no-stitching"], "--no-stitching is about the neural"),
        (
            [PORTRAIT, driving_clip, "--renderer", "embedded", "--no-crop-driving"],
            "--no-crop-driving is about the neural",
        ),
        ([PORTRAIT, driving_clip, "--absolute-motion", "--normalize-lip"], "contradict"),
        ([PORTRAIT, driving_clip, "--max-seconds", "0.5"], "the limit is 0.5"),
        ([PORTRAIT, driving_clip, "--save-template", "motion.pkl"], "must end in .npz"),
        ([PORTRAIT, driving_clip, "--save-template", tmp_path / "no" / "t.npz"], "does not exist"),
    ):
        assert main(["animate", *map(str, words), "-o", str(out)]) == 2, words
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("error: ") and any(part in message for part in expected.split("|")), (words, message)
        assert not out.exists() and not list(tmp_path.glob(".*"))
    assert main(["animate", str(driving_clip), str(driving_clip), "-o", str(driving_clip), "--overwrite"]) == 2
    assert "would be lost" in capsys.readouterr().err and open_footage(driving_clip).fps == 25.0


def test_interrupted_run_removes_its_files(driving_clip, tmp_path):
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "drawing" and done == 3:
            raise KeyboardInterrupt

    out, template = tmp_path / "out.mp4", tmp_path / "motion.npz"
    options = AnimateOptions(renderer="embedded", max_size=384)
    with pytest.raises(KeyboardInterrupt):
        Animator().save(PORTRAIT, driving_clip, out, options, save_template=template, on_progress=stop)
    assert not list(tmp_path.iterdir())


def test_template_for_the_other_renderer_is_refused(tmp_path, capsys, driving_clip):
    with open_footage(driving_clip) as footage:
        landmarks = measure_faces(track(footage.first(3)))
    template = tmp_path / "landmarks.npz"
    save_template(Template(None, landmarks), template)
    opened = open_driving(template, max_pixels=10**8, max_seconds=60)
    assert opened.suits(by_networks=False) and not opened.suits(by_networks=True)
    message = str(opened.refuse("neural"))
    assert "--renderer neural --save-template" in message and "--renderer embedded" in message


def test_invalid_options_are_refused():
    for wrong in ({"fps": 0}, {"quality": "good"}, {"stitching": 1}, {"normalize_lip": None}, {"renderer": "magic"}):
        with pytest.raises(OptionError):
            AnimateOptions(**wrong)
    with pytest.raises(MediaError, match="would be lost"):
        Animator().save(PORTRAIT, PORTRAIT, PORTRAIT, overwrite=True)


@needs_shared
@pytest.mark.parametrize(("source", "clip"), [("frontal_photo", "head_turns")])
def test_real_driving_clip(tmp_path, source, clip):
    driving, out = DATA / "driving" / f"{clip}.mp4", tmp_path / "out.mp4"
    Animator().save(portrait(source), driving, out, AnimateOptions(renderer="embedded"))
    extract = load_tool("face_tracks").extract
    wanted, made = extract(str(driving)), extract(str(out))
    for track_name, least in (("yaw", 0.9), ("pitch", 0.9), ("aperture", 0.8)):
        assert correlation(wanted[track_name], made[track_name]) >= least, track_name


class _Clip(SimpleNamespace):
    def __len__(self):
        return self.frames


def test_a_source_video_keeps_its_frame_rate():
    source = Footage.from_frames("source", [np.zeros((8, 8, 3), np.uint8)] * 60, 30)
    clip = _Clip(frames=50, fps=25.0)
    assert animate._clock(source, clip, AnimateOptions()) == (30, 60)
    assert animate._clock(source, clip, AnimateOptions(fps=10)) == (10, 20)


@pytest.mark.parametrize("part", ["networks", "landmarks"])
@pytest.mark.parametrize("value", [0.0, -1.0, 3e38, -3e38, 1e5])
def test_templates_without_the_motion_of_a_face_are_refused(tmp_path, capsys, part, value):
    """They are finite, but what divides by them, or squares them, is not."""
    shapes, kind = (SHAPES, MotionTemplate) if part == "networks" else (MEASUREMENT_SHAPES, FaceMeasurements)
    arrays = {name: np.full((2, *shape), value, np.float32) for name, shape in shapes.items()}
    if part == "networks":
        arrays["scale"] = np.abs(arrays["scale"]) + 1e-30
    save_template(Template(**{"networks": None, "landmarks": None, part: kind(25.0, **arrays)}), tmp_path / "t.npz")
    words = ["animate", str(PORTRAIT), str(tmp_path / "t.npz"), "-o", str(tmp_path / "o.mp4")]
    assert main([*words, "--quiet"]) == 2
    assert "t.npz holds no motion of a face: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]
