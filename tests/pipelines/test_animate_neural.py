"""Reenactment by the neural renderer with synthetic weights.

The images are noise, so the tests check which frames are made and by which engine, and that motion changes them.
A frame takes seconds.
"""

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
def installed(store, shared_networks, monkeypatch) -> None:
    monkeypatch.setenv("LPT_MODELS", str(store))


def animate(capsys, *words: object) -> dict:
    assert main(["animate", *map(str, words), "--json", "--overwrite", *FAST]) == 0
    report: dict = json.loads(capsys.readouterr().out)
    return report


def to_released_format(template: MotionTemplate) -> dict:
    """Return the template as the released LivePortrait writes it."""
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
def offsets(monkeypatch) -> list[np.ndarray]:
    """The driving keypoints of each frame relative to the source's; nothing is drawn."""
    import torch

    recorded: list[np.ndarray] = []

    def record(self, features, source, driving) -> np.ndarray:
        recorded.extend(driving - source)
        return np.full((len(driving), 512, 512, 3), 128, np.uint8)

    monkeypatch.setattr(LivePortrait, "draw", record)
    monkeypatch.setattr(LivePortrait, "features", lambda self, faces: torch.zeros(len(faces), 1, 1, 1, 1))
    return recorded


@pytest.fixture(scope="module")
def animator(store) -> Animator:
    """An animator that keeps its networks loaded."""
    return Animator()


@pytest.fixture(scope="module")
def template_path(tmp_path_factory) -> Path:
    """The template that the first test writes."""
    return tmp_path_factory.mktemp("template") / "motion.npz"


def test_command_line(short_driving_clip, tmp_path, capsys, template_path):
    out = tmp_path / "out.mp4"
    report = animate(capsys, PORTRAIT, short_driving_clip, "-o", out, "--fps", 3, "--save-template", template_path)
    assert (report["renderer"], report["renderer_reason"]) == ("neural", "its weights are installed")
    assert (report["frames"], report["size"], report["sound"]) == (2, [320, 320], False)
    with av.open(str(out)) as file:
        first, second = (frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0))
        assert "(neural renderer)" in file.metadata["comment"]
    assert np.abs(first - second).mean() > 0.05
    template = load_template(template_path)
    assert template.networks is not None and template.landmarks is not None and len(template) == 4


def test_released_template_gives_the_same_motion(template_path, tmp_path, capsys, offsets, animator):
    template, old = load_template(template_path).networks, tmp_path / "motion.pkl"
    assert template is not None
    old.write_bytes(pickle.dumps(to_released_format(template)))
    report = animate(capsys, PORTRAIT, old, "-o", tmp_path / "out.mp4")
    assert (report["renderer"], report["frames"]) == ("neural", 4)
    from_released = [*offsets]
    offsets.clear()
    list(animator.frames(PORTRAIT, template_path, AnimateOptions(max_size=320)))
    np.testing.assert_allclose(offsets, from_released, atol=1e-6)
    # The embedded renderer uses the landmarks of the template; the released format has none.
    report = animate(capsys, PORTRAIT, template_path, "-o", tmp_path / "out.mp4", "--renderer", "embedded")
    assert (report["renderer"], report["frames"]) == ("embedded", 4)
    words = ["animate", str(PORTRAIT), str(old), "-o", str(tmp_path / "no.mp4"), "--renderer", "embedded"]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "--renderer embedded --save-template" in message and not (tmp_path / "no.mp4").exists()


def test_landmark_template_needs_the_embedded_renderer(short_driving_clip, tmp_path, capsys):
    template_path = tmp_path / "landmarks.npz"
    with open_footage(short_driving_clip) as footage:
        save_template(Template(None, measure_faces(track(footage))), template_path)
    report = animate(capsys, PORTRAIT, template_path, "-o", tmp_path / "a.mp4")
    assert (report["renderer"], report["renderer_reason"]) == ("embedded", "the template is for it")
    words = ["animate", str(PORTRAIT), str(template_path), "-o", str(tmp_path / "b.mp4"), "--renderer", "neural"]
    assert main(words) == 2 and "--renderer neural --save-template" in capsys.readouterr().err


def test_each_option_changes_the_keypoints(template_path, short_driving_clip, offsets, animator):
    def record(source: Path = PORTRAIT, driving: Path = template_path, **more) -> np.ndarray:
        offsets.clear()
        list(animator.frames(source, driving, AnimateOptions(max_size=320, **more)))
        return np.array(offsets)

    plain = record(stitching=False)
    assert len(plain) == 4 and np.abs(plain[0]).max() < 1e-6  # frame 0 of relative motion is the source
    half = record(stitching=False, driving_multiplier=0.5)
    np.testing.assert_allclose(half, plain / 2, atol=1e-9)
    others = [
        record(),
        record(driving=short_driving_clip, stitching=False, crop_driving=False),
        *(record(stitching=False, **more) for more in ({"relative_motion": False}, {"eye_retargeting": True})),
        *(record(stitching=False, animation_region=region) for region in ("exp", "pose", "lip", "eyes")),
    ]
    assert all(np.abs(other - plain).max() > 1e-6 for other in others)
    # The motion of a whole video is smoothed.
    video = record(short_driving_clip, source_video_eye_retargeting=True)
    rougher = record(short_driving_clip, source_video_eye_retargeting=True, driving_smooth_observation_variance=1e-3)
    assert video.shape == rougher.shape == (4, 21, 3) and np.abs(video - rougher).max() > 1e-6
