"""Texts for users of the page name no folder of the server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from liveportrait_talker.pipelines.engines import RENDERER_NETWORKS, missing_parts
from liveportrait_talker.ui import markup
from liveportrait_talker.ui.folders import hide_folders


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LPT_MODELS", "LPT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "Jane Doe"))
    (tmp_path / "Jane Doe").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "Jane Doe" / "tmp dir"))
    return tmp_path / "Jane Doe"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/tmp/lpt-ui-x/jobs/abc/the portrait is not a picture", "the portrait is not a picture"),
        ("[Errno 13] Permission denied: '/srv/models/w.safetensors'", "[Errno 13] Permission denied: 'w.safetensors'"),
        ("PosixPath('/a/b/c.png') or \"/d/e.png\"", "PosixPath('c.png') or \"e.png\""),
        (r"C:\Users\Jane Doe\AppData\x.png cannot be read", "x.png cannot be read"),
        ("see https://example.org/a/b.html and /talk and 24/30 and and/or", None),
        ("{home}/pictures/a b.png is missing", "a b.png is missing"),
        ("no access to {home}.", "no access to the home folder."),
        ("in {home}/.cache/liveportrait-talker/models, or damaged", "in the models folder, or damaged"),
        ("in {home}/.cache/liveportrait-talker/models/w.pth, or", "in w.pth, or"),
        ("{home}/.cache/liveportrait-talker is not writable", "the cache folder is not writable"),
        ("{home}/tmp dir/lpt-ui-x/jobs/abc/the voice is empty", "the voice is empty"),
    ],
)
def test_hide_folders(home: Path, text: str, shown: str | None):
    assert hide_folders(text.format(home=home)) == (text if shown is None else shown)


def test_every_box_hides_folders(home: Path):
    path = f"{home}/a/b.png"
    boxes = [markup.notice(path), markup.error(path), markup.success(path, [path]), markup.remark(path)]
    boxes.append(markup.table(["head"], [[path]]))
    for box in boxes:
        assert "b.png" in box and "Jane" not in box


def test_missing_weights(home: Path):
    sentence = missing_parts(RENDERER_NETWORKS, {})
    assert sentence is not None and "Jane" not in hide_folders(sentence)
