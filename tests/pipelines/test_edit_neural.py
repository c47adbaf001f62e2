"""The photo editor with the neural renderer and synthetic weights: one drawn frame, and keypoints of others."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage
from liveportrait_talker.pipelines.edit import EditOptions, Editor, EditSetup
from liveportrait_talker.render.neural.liveportrait import LivePortrait
from liveportrait_talker.render.neural.renderer import NeuralRenderer


@pytest.fixture(autouse=True)
def installed(store, shared_networks, monkeypatch) -> None:
    monkeypatch.setenv("LPT_MODELS", str(store))


def test_command_line(tmp_path, capsys):
    out = tmp_path / "out.png"
    words = ["edit", str(PORTRAIT), "-o", str(out), "--smile", "1", "--max-size", "320", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["renderer"] == "neural"
    source = open_footage(PORTRAIT, max_side=320)
    changed = np.abs(open_footage(out)[0].astype(int) - source[0]).mean(axis=-1)
    x, y = track(source).faces[0].landmarks[1, :2].astype(int)
    assert changed[y - 20 : y + 20, x - 20 : x + 20].mean() > 20  # noise from the networks


def test_sliders_move_the_keypoints(monkeypatch):
    offsets: list[np.ndarray] = []

    def record(self, features, source, driving) -> np.ndarray:
        offsets.extend(driving - source)
        return np.full((len(driving), 512, 512, 3), 128, np.uint8)

    prepared: list[str] = []
    prepare = NeuralRenderer.prepare

    def count(self, source):
        prepared.append(source.footage.name)
        return prepare(self, source)

    monkeypatch.setattr(NeuralRenderer, "prepare", count)
    monkeypatch.setattr(LivePortrait, "draw", record)
    session = Editor().open(PORTRAIT, "neural", EditSetup(max_size=320, stitching=False))
    assert np.array_equal(session.draw(EditOptions()), session.picture) and not offsets  # neutral sliders draw nothing
    drawn = []
    for edit in (
        {"smile": 1.0},
        {"smile": 0.5},
        {"aaa": 60},
        {"rotate_yaw": 10},
        {"source_ratio": 0.5},
        {"sample": PORTRAIT},
        {"sample": PORTRAIT, "sample_parts": "mouth"},
    ):
        session.draw(EditOptions(**edit))
        drawn.append(offsets[-1])
    assert len(drawn) == 7 and all(np.abs(each).max() > 1e-6 for each in drawn)
    assert prepared == [PORTRAIT.name] * 2  # the portrait and the sample, once each
    np.testing.assert_allclose(drawn[1], drawn[0] / 2, atol=1e-6)  # sliders are linear
    assert np.abs(drawn[5] - drawn[6]).max() > 1e-6
