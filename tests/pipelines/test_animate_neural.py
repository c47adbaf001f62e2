"""The same drawn by the networks, with synthetic weights: the pictures are noise, so what is looked at is which frames
were made, by whom, from what, and that motion changes them. A frame costs seconds."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("torch")

from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage
from liveportrait_talker.motion.template import MotionTemplate, Template, load_template, save_template
from liveportrait_talker.pipelines.animate import AnimateOptions, Animator
from liveportrait_talker.render.neural.liveportrait import LivePortrait

FAST = ("--max-size", "320")


@pytest.fixture(autouse=True)
def installed(store, monkeypatch) -> None:
    monkeypatch.setenv("LPT_MODELS", str(store))


def report_of(capsys, *words: object) -> dict:
    assert main(["animate", *map(str, words), "--json", "--overwrite", *FAST]) == 0
    report: dict = json.loads(capsys.readouterr().out)
    return report


def as_released(template: MotionTemplate) -> dict:
    """What upstream would have kept of the clip."""
    names = {"scale": "scale", "R": "rotation", "exp": "expression", "t": "translation"}
    names |= {"kp": "keypoints", "x_s": "points"}
    motion = [{key: getattr(template, name)[k][None] for key, name in names.items()} for k in range(len(template))]
    eyes, lips = ([part[k][None] for k in range(len(template))] for part in (template.eye_ratios, template.lip_ratio))
    return {
        "n_frames": len(template),
        "output_fps": template.fps,
        "motion": motion,
        "c_eyes_lst": eyes,
        "c_lip_lst": lips,
    }


@pytest.fixture
def points(monkeypatch) -> list[np.ndarray]:
    """Where the driving points of every frame are, away from the source's: they are not drawn."""
    import torch

    asked: list[np.ndarray] = []

    def drawn(self, features, source, driving) -> np.ndarray:
        asked.extend(driving - source)
        return np.full((len(driving), 512, 512, 3), 128, np.uint8)

    monkeypatch.setattr(LivePortrait, "draw", drawn)
    monkeypatch.setattr(LivePortrait, "features", lambda self, faces: torch.zeros(len(faces), 1, 1, 1, 1))
    return asked


@pytest.fixture(scope="module")
def animator(store) -> Animator:
    """One for all: its networks are loaded once."""
    return Animator()


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Where the first test leaves its template."""
    return tmp_path_factory.mktemp("kept") / "motion.npz"


def test_a_clip_through_the_command_line(short_driver, tmp_path, capsys, kept):
    """All seven networks, two frames."""
    out = tmp_path / "out.mp4"
    report = report_of(capsys, PORTRAIT, short_driver, "-o", out, "--fps", 3, "--save-template", kept)
    assert (report["renderer"], report["renderer_reason"]) == ("neural", "its weights are installed")
    assert (report["frames"], report["size"], report["sound"]) == (2, [320, 320], False)
    with av.open(str(out)) as file:
        first, second = (frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0))
        assert "(neural renderer)" in file.metadata["comment"]
    assert np.abs(first - second).mean() > 0.05
    template = load_template(kept)
    assert template.networks is not None and template.landmarks is not None and len(template) == 4


def test_a_released_template_does_the_same(kept, tmp_path, capsys, points, animator):
    template, old = load_template(kept).networks, tmp_path / "motion.pkl"
    assert template is not None
    old.write_bytes(pickle.dumps(as_released(template)))
    report = report_of(capsys, PORTRAIT, old, "-o", tmp_path / "out.mp4")
    assert (report["renderer"], report["frames"]) == ("neural", 4)
    by_released = [*points]
    points.clear()
    list(animator.frames(PORTRAIT, kept, AnimateOptions(max_size=320)))
    np.testing.assert_allclose(points, by_released, atol=1e-6)
    # The embedded renderer follows the same template by its other part, and not the released one.
    report = report_of(capsys, PORTRAIT, kept, "-o", tmp_path / "out.mp4", "--renderer", "embedded")
    assert (report["renderer"], report["frames"]) == ("embedded", 4)
    words = ["animate", str(PORTRAIT), str(old), "-o", str(tmp_path / "no.mp4"), "--renderer", "embedded"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "--renderer embedded --save-template" in told and not (tmp_path / "no.mp4").exists()


def test_a_template_of_landmarks_is_drawn_by_the_mesh_or_refused(short_driver, tmp_path, capsys):
    kept = tmp_path / "landmarks.npz"
    with open_footage(short_driver) as footage:
        save_template(Template(None, measure_faces(track(footage))), kept)
    report = report_of(capsys, PORTRAIT, kept, "-o", tmp_path / "a.mp4")
    assert (report["renderer"], report["renderer_reason"]) == ("embedded", "the template is for it")
    words = ["animate", str(PORTRAIT), str(kept), "-o", str(tmp_path / "b.mp4"), "--renderer", "neural"]
    assert main(words) == 2 and "--renderer neural --save-template" in capsys.readouterr().err


def test_every_option_has_its_say(kept, short_driver, points, animator):
    def made(source: Path = PORTRAIT, driving: Path = kept, **more) -> np.ndarray:
        points.clear()
        list(animator.frames(source, driving, AnimateOptions(max_size=320, **more)))
        return np.array(points)

    plain = made(stitching=False)
    assert len(plain) == 4 and np.abs(plain[0]).max() < 1e-6  # relative to frame 0: it is the source itself
    half = made(stitching=False, driving_multiplier=0.5)
    np.testing.assert_allclose(half, plain / 2, atol=1e-9)
    others = [
        made(),
        made(driving=short_driver, stitching=False, crop_driving=False),
        *(made(stitching=False, **more) for more in ({"relative_motion": False}, {"eye_retargeting": True})),
        *(made(stitching=False, animation_region=region) for region in ("exp", "pose", "lip", "eyes")),
    ]
    assert all(np.abs(other - plain).max() > 1e-6 for other in others)
    # A video's whole motion is looked at first, and smoothed.
    video = made(short_driver, source_video_eye_retargeting=True)
    rougher = made(short_driver, source_video_eye_retargeting=True, driving_smooth_observation_variance=1e-3)
    assert video.shape == rougher.shape == (4, 21, 3) and np.abs(video - rougher).max() > 1e-6
