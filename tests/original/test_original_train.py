"""`train.py` of the 2024 original: three modes, both spellings."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from omegaconf import OmegaConf

from liveportrait_talker.original.train import main

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "training"))
from toy_records import make_dataset  # noqa: E402


@pytest.fixture
def config(tmp_path) -> Path:
    content = OmegaConf.load(ROOT / "examples" / "config.yaml")
    folders = {"raw_folder_path": str(tmp_path / "raw"), "dataset_folder_path": str(tmp_path / "data")}
    for section in ("download", "threedmm"):
        content[section] |= folders
    content.train.checkpoint_save_path = str(tmp_path / "runs")
    content.train.train_dataset_folder_path = str(tmp_path / "data")
    content.train.model_cfg.device = "cpu"
    path = tmp_path / "config.yaml"
    OmegaConf.save(content, path)
    return path


@pytest.mark.parametrize("flag", ["--mode", "--model"])
def test_download_needs_a_folder(config, flag, capsys):
    assert main(["--config_path", str(config), flag, "download"]) == 2
    assert "raw is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["threedmm", "thredmm"])
def test_both_spellings_extract(config, mode, capsys, monkeypatch, store):
    monkeypatch.setenv("LPT_MODELS", str(store))
    assert main(["--config_path", str(config), "--mode", mode]) == 2
    assert "data has no folder clips" in capsys.readouterr().err


def test_train_needs_a_name(config, capsys):
    """The original exits with 0 (docs/earlier_systems.md, defect 77)."""
    assert main(["--config_path", str(config), "--mode", "train"]) == 2
    assert "--experiment_name" in capsys.readouterr().err
    assert main(["--config_path", str(config), "--mode", "train", "--experiment_name", "../x"]) == 2


def test_train_uses_the_originals_settings(config, tmp_path, monkeypatch):
    from liveportrait_talker.training import fit

    make_dataset(tmp_path / "data", speakers=40, videos=1, lengths=(40,))
    given = []
    monkeypatch.setattr(fit, "train", lambda dataset, out, options, **_: given.append((dataset, out, options)))
    monkeypatch.setattr(
        sys, "argv", ["train.py", "--config_path", str(config), "--mode", "train", "--experiment_name", "a"]
    )
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    assert end.value.code == 0
    ((dataset, out, options),) = given
    assert (dataset, out) == (tmp_path / "data", tmp_path / "runs" / "a")
    assert (options.run_frames, options.batch_size, options.problem.learning_rate) == (1, 64, 2e-4)
    assert (options.problem.rows, options.device) == (29, "cpu")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("download.target_fps", 30, "25"),
        ("train.mappingnet_cfg.num_kp", 21, "6"),
        ("threedmm.fps", 24, "25"),
        ("train.speed", 1, "unknown"),
    ],
)
def test_unsupported_keys(config, key, value, expected, capsys):
    content = OmegaConf.load(config)
    OmegaConf.update(content, key, value, force_add=True)
    OmegaConf.save(content, config)
    mode = {"download": "download", "train": "train", "threedmm": "threedmm"}[key.partition(".")[0]]
    assert main(["--config_path", str(config), "--mode", mode, "--experiment_name", "x"]) == 2
    text = capsys.readouterr().err
    assert key in text and expected in text
