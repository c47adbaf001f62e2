"""`train`, `evaluate`, `export`: learning, resumption and distributed training."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from toy_records import make_dataset  # noqa: E402

from liveportrait_talker.cli.main import main  # noqa: E402
from liveportrait_talker.errors import OptionError, WeightsError  # noqa: E402
from liveportrait_talker.training.checkpoint import load_trained, read_checkpoint  # noqa: E402
from liveportrait_talker.training.curves import read_metric  # noqa: E402
from liveportrait_talker.training.evaluate import evaluate  # noqa: E402
from liveportrait_talker.training.fit import train  # noqa: E402
from liveportrait_talker.training.options import Problem, Split, TrainOptions  # noqa: E402
from liveportrait_talker.weights import importing  # noqa: E402
from liveportrait_talker.weights.checkpoints import file_metadata  # noqa: E402

SPLIT = Split(val_share=0.3)
SMALL = Problem(width=48, learning_rate=3e-3)
KILLS = int(os.environ.get("LPT_KILLS", "1"))  # 10 for a thorough test


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("toy"), speakers=12, lengths=(150, 90))


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    options = TrainOptions(problem=SMALL, split=SPLIT, max_epochs=12, device="cpu", batch_size=4)
    return out, train(dataset, out, options)


def test_a_learnable_problem_is_learned(dataset, trained):
    """validation L1 below 10 % of the mean baseline."""
    out, report = trained
    result = evaluate(dataset, load_trained(out), split=SPLIT, device="cpu")
    network, ridge, mean = result.scores
    assert network.l1 < 0.1 * mean.l1
    assert network.l1 == pytest.approx(report.best_val_loss, rel=0.02)
    assert network.aperture_r > 0.95 and network.lag_ms == 0
    assert np.isnan(mean.aperture_r) and ridge.l1 < mean.l1
    assert result.speakers == len({k.split("/")[0] for k in _keys(dataset, "val")})


def _keys(dataset, side):
    return json.loads((dataset / "arrays" / side / "about.json").read_text())["keys"]


def test_a_run_writes_the_reported_files(trained):
    out, report = trained
    assert report.curves is not None and report.curves.read_bytes().startswith(b"\x89PNG")
    assert report.exported is None, "48 channels are not for generate"
    assert f"{report.best_val_loss:.6f}" in report.best.name, (
        "the original's checkpoints are all called 0.00 (docs/earlier_systems.md, defect 61)"
    )
    assert any((out / "tensorboard").rglob("events.out.tfevents.*"))
    assert len(read_metric(out, "val/lip_exp_l1")) == report.epochs
    assert read_checkpoint(report.best)[0] == SMALL


def test_a_run_of_another_problem_is_not_resumed(dataset, trained):
    with pytest.raises(OptionError, match="run of another problem"):
        train(dataset, trained[0], TrainOptions(problem=Problem(width=32), split=SPLIT, device="cpu"))


def test_a_network_that_generate_cannot_use_is_not_exported(trained, tmp_path, capsys):
    assert main(["export", str(trained[0]), "-o", str(tmp_path / "x.safetensors")]) == 2
    assert "48 channels" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "problem",
    [Problem(width=16, velocity_weight=0.5), Problem(width=16, keypoints="all"), Problem(width=16, keypoints="3,7")],
)
def test_the_other_problems_run(dataset, tmp_path, problem):
    options = TrainOptions(
        problem=problem, split=SPLIT, max_epochs=1, max_steps=3, device="cpu", gradient_clip=1.0, precision="bf16-mixed"
    )
    report = train(dataset, tmp_path, options)
    assert report.steps == 3
    assert np.isfinite(report.best_val_loss)
    assert evaluate(dataset, load_trained(tmp_path), split=SPLIT, device="cpu").keypoints == problem.keypoint_numbers


def test_fast_dev_run_writes_nothing(dataset, tmp_path):
    report = train(dataset, tmp_path / "run", TrainOptions(problem=SMALL, split=SPLIT, device="cpu", fast_dev_run=True))
    assert report.best is None and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 3, "devices": 2},
        {"run_frames": 1, "problem": Problem(velocity_weight=1)},
        {"precision": "8"},
        {"patience": 0},
    ],
)
def test_invalid_options_are_refused(given):
    with pytest.raises(OptionError):
        TrainOptions(**given)
    for keypoints in ("lip", "1,1", "21", "", "-1"):
        with pytest.raises(OptionError):
            Problem(keypoints=keypoints)


def test_the_exported_file_has_metadata_and_drives(dataset, tmp_path, store, monkeypatch):
    """train → export → generate --mapping, and models import."""
    out, file = tmp_path / "run", tmp_path / "mine.safetensors"
    options = TrainOptions(problem=Problem(radius=15), split=SPLIT, max_epochs=1, max_steps=1, device="cpu")
    assert train(dataset, out, options).exported == out / "mappingnet.safetensors"
    assert main(["export", str(out), "-o", str(file)]) == 0
    assert main(["export", str(out), "-o", str(file)]) == 2, "it is there"
    said = file_metadata(file)
    assert said["rows"] == "31" and json.loads(said["keypoints"]) == [6, 12, 14, 17, 19, 20]
    assert said["dataset"] == dataset.name and said["made_by"].startswith("liveportrait-talker")
    monkeypatch.setenv("LPT_MODELS", str(store))
    from liveportrait_talker.options.talk import TalkOptions
    from liveportrait_talker.pipelines.engines import EngineChoice, Engines

    engines, options = Engines(), TalkOptions(mapping=file, device="cpu")
    driver = engines.driver(EngineChoice("learned", ""), options)
    networks = engines.sadtalker(options)
    assert networks.window_rows == 31 and "learned" in repr(driver).lower()
    _, tensors, _ = read_checkpoint(next((out / "checkpoints").glob("epoch*.ckpt")))
    for key, value in networks.network("mappingnet").state_dict().items():
        assert (value == tensors[key]).all()
    monkeypatch.setenv("LPT_MODELS", str(tmp_path / "models"))
    assert main(["models", "import", str(file), "--quiet"]) == 0
    assert importing.metadata("mappingnet")["rows"] == "31"


def test_other_files_are_not_checkpoints(tmp_path):
    path = tmp_path / "x.ckpt"
    path.write_bytes(b"PK nothing")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        load_trained(path)
    with pytest.raises(WeightsError, match="has no checkpoints"):
        load_trained(tmp_path)
    large = {"problem": {"width": 8192}, "state_dict": {"mappingnet.fc_exp.weight": torch.zeros(1).expand(10**9)}}
    torch.save(large, path)
    with pytest.raises(WeightsError, match=r"another network than it describes|more than once"):
        load_trained(path)
    with pytest.raises(OptionError, match="does not exist"):
        load_trained(tmp_path / "no")


def command(dataset: Path, out: Path, *more: str) -> list[str]:
    flags = "--val-share 0.3 --width 24 --device cpu --batch-size 4 --run-frames 30 --quiet"
    return [sys.executable, "-m", "liveportrait_talker", "train", str(dataset), "-o", str(out), *flags.split(), *more]


def losses(out: Path) -> dict[int, float]:
    found = {}
    for file in sorted((out / "logs").glob("version_*/metrics.csv")):
        with file.open(newline="") as rows:
            found |= {int(r["step"]): float(r["train/step_loss"]) for r in csv.DictReader(rows) if r["train/step_loss"]}
    return found


@pytest.mark.slow
def test_two_processes_train_like_one(dataset, tmp_path):
    """DDP with two processes and the same global batch has the same loss curve within 1e-4 for 50 steps."""
    curves = []
    for devices in ("1", "2"):
        out = tmp_path / devices
        steps = ("--max-steps", "50", "--devices", devices)
        subprocess.run(
            command(dataset, out, *steps), check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        curves.append(losses(out))
    one, two = curves
    assert len(one) >= 50 and one.keys() == two.keys()
    assert max(abs(one[k] - two[k]) for k in one) <= 1e-4


def test_every_epoch_has_its_own_order(dataset, tmp_path, monkeypatch):
    from liveportrait_talker.training.runs import Runs

    batches, fetch = [], Runs.__getitems__
    monkeypatch.setattr(Runs, "__getitems__", lambda self, k: batches.append(list(k)) or fetch(self, k))
    options = TrainOptions(
        problem=Problem(width=16), split=SPLIT, max_epochs=2, device="cpu", batch_size=8, run_frames=60
    )
    train(dataset, tmp_path, options)
    order = [k for batch in batches if len(batch) == 8 and batch != list(range(batch[0], batch[0] + 8)) for k in batch]
    half = len(order) // 2
    assert half >= 24 and order[:half] != order[half:]


def test_an_incomplete_checkpoint_is_skipped(dataset, tmp_path, caplog):
    options = TrainOptions(problem=Problem(width=16), split=SPLIT, max_epochs=1, device="cpu")
    train(dataset, tmp_path, options)
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    report = train(dataset, tmp_path, dataclasses.replace(options, max_epochs=2))
    assert report.epochs == 2 and any("the previous one is used" in r.message for r in caplog.records)
    with pytest.raises(OptionError, match="other held-out speakers"):
        train(dataset, tmp_path, dataclasses.replace(options, split=Split(seed=3, val_share=0.3)))
    assert load_trained(tmp_path).split == SPLIT


def test_ctrl_c_raises_keyboard_interrupt(dataset, tmp_path):
    """Lightning leaves with code 1 and not a word."""
    process = subprocess.Popen(
        command(dataset, tmp_path / "run", "--max-epochs", "1000", "--patience", "1000"),
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        time.sleep(0.1)
        if list((tmp_path / "run").glob("checkpoints/epoch*.ckpt")):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in said


@pytest.mark.slow
def test_a_killed_run_is_resumed_with_the_same_result(dataset, tmp_path):
    """kill −9 at a random moment, run again: as if nothing had happened."""
    epochs = ("--max-epochs", "4")
    started = time.monotonic()
    subprocess.run(command(dataset, tmp_path / "calm", *epochs), check=True, timeout=300)
    whole = time.monotonic() - started
    _, wanted, _ = read_checkpoint(tmp_path / "calm" / "checkpoints" / "last.ckpt")
    chance = random.Random(5)
    for k in range(KILLS):
        out = tmp_path / f"killed{k}"
        process = subprocess.Popen(command(dataset, out, *epochs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.4, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = subprocess.run(command(dataset, out, *epochs), timeout=300, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        _, seen, _ = read_checkpoint(out / "checkpoints" / "last.ckpt")
        for key, value in wanted.items():
            torch.testing.assert_close(seen[key], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("split", ["[" * 100_000, "[]", '{"seed": 1, "colour": 2}', '{"seed": -1}', "9" * 5000])
def test_a_hostile_split_in_an_exported_file_is_refused(tmp_path, split):
    from safetensors.torch import save_file

    from liveportrait_talker.driving.sadtalker.nets.mappingnet import MappingNet

    save_file(MappingNet().state_dict(), tmp_path / "m.safetensors", metadata={"network": "mappingnet", "split": split})
    with pytest.raises(WeightsError, match="states a split"):
        load_trained(tmp_path / "m.safetensors")
