"""Runs equal windows of single frames; the loss and Adam are the original's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from toy_records import make_dataset  # noqa: E402

from liveportrait_talker.driving.sadtalker.nets import MappingNet  # noqa: E402
from liveportrait_talker.driving.sadtalker.windows import coefficient_windows, window_index  # noqa: E402
from liveportrait_talker.motion.lips import LIP_KEYPOINTS  # noqa: E402
from liveportrait_talker.training.arrays import open_arrays  # noqa: E402
from liveportrait_talker.training.module import MappingTask, keypoint_l1, velocity_l1  # noqa: E402
from liveportrait_talker.training.options import Problem, Split  # noqa: E402
from liveportrait_talker.training.runs import Runs, ShuffledBatches  # noqa: E402
from parity import find  # noqa: E402


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    folder = make_dataset(tmp_path_factory.mktemp("toy"), lengths=(60, 9, 33), unseen=0.1)
    return open_arrays(folder, Split(val_share=0.3))["train"]


@pytest.fixture(scope="module")
def golden():
    with np.load(find("talker_training.npz"), allow_pickle=False) as file:
        return dict(file)


@given(st.integers(1, 40), st.integers(25, 35))
@settings(max_examples=15, deadline=None)
def test_a_run_equals_its_windows(frames, rows):
    torch.manual_seed(frames)
    net = MappingNet(width=16).double()
    coefficients = torch.randn(2, 64, frames + rows - 1, dtype=torch.float64)
    windows = coefficients.unfold(2, rows, 1).transpose(1, 2).flatten(0, 1)  # (2 T, 64, rows)
    torch.testing.assert_close(net.along(coefficients, rows).flatten(0, 1), net(windows), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 7, 32, 100])
def test_runs_hold_every_frame_with_its_window(arrays, length):
    runs = Runs(arrays, length=length, radius=14, keypoints=LIP_KEYPOINTS)
    batch = runs.__getitems__(list(range(len(runs))))
    covered = np.zeros(len(arrays), bool)
    number = 0
    for first, frames in zip(arrays.first, arrays.frames, strict=True):
        expression = arrays.expression[first : first + frames]
        wanted = coefficient_windows(expression, window_index(int(frames), 29))
        for _ in range(-(-int(frames) // length)):
            start = int(runs._start[number])
            for k in range(length):
                own = start + k
                if own >= frames:
                    assert batch["weight"][number, k] == 0
                    continue
                window = batch["coefficients"][number, :, k : k + 29].numpy()
                if frames >= length or own < frames:
                    assert (window == wanted[own]).all()
                at = first + own
                assert batch["weight"][number, k] == (arrays.seen[at] and not covered[at]), "a frame counts once"
                assert (
                    batch["targets"][number, k].numpy() == arrays.keypoint_expression[at][list(LIP_KEYPOINTS)]
                ).all()
                covered[at] = True
            number += 1
    assert number == len(runs) and covered.all()


@given(st.integers(1, 200), st.sampled_from([2, 4, 8]), st.sampled_from([1, 2, 4]), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_processes_share_the_batches_of_one(count, size, world, seed):
    if size % world:
        return
    for epoch in (0, 3):
        parts = []
        for rank in range(world):
            batches = ShuffledBatches(count, size, seed=seed, rank=rank, world=world)
            batches.set_epoch(epoch)
            parts.append(list(batches))
        one = ShuffledBatches(count, size, seed=seed)
        one.set_epoch(epoch)
        for k, whole in enumerate(one):
            assert sorted(i for part in parts for i in part[k]) == sorted(whole)
            assert len({len(part[k]) for part in parts}) == 1
    in_order = [i for batch in ShuffledBatches(count, size, seed=None) for i in batch]
    assert in_order == list(range(count)), "validation sees every run once"


def test_the_window_of_an_item_is_the_originals(golden):
    index, rows = int(golden["item.index"]), golden["record.threedmm"]
    window = coefficient_windows(rows[:, :64], window_index(len(rows), 29))[index]
    np.testing.assert_array_equal(window, golden["item.threedmm_64x29"])


def test_the_loss_is_the_originals(golden):
    predicted = torch.from_numpy(golden["loss.pred"]).view(-1, 1, 6, 3)
    motion = torch.from_numpy(golden["loss.motion"]).view(-1, 1, 21, 3)[:, :, list(LIP_KEYPOINTS)]
    ones = torch.ones(len(predicted), 1)
    assert float(keypoint_l1(predicted, motion, ones, ones.sum())) == pytest.approx(
        float(golden["loss.value"]), rel=1e-6
    )


def test_adam_is_the_originals(golden):
    """The fixture keeps its five losses but not the batches behind them: the settings are what can be held against."""
    defaults = json.loads(str(golden["adam.defaults"]))
    optimiser = MappingTask(Problem(width=32)).configure_optimizers()
    assert type(optimiser) is torch.optim.Adam
    for name, value in defaults.items():
        seen = optimiser.defaults[name]
        assert (list(seen) if name == "betas" else seen) == value, name


def test_velocity_uses_pairs_of_seen_frames():
    predicted, targets = torch.zeros(1, 3, 1, 3), torch.tensor([0.0, 1.0, 5.0]).view(1, 3, 1, 1).expand(1, 3, 1, 3)
    weight = torch.tensor([[1.0, 1.0, 0.0]])
    assert float(velocity_l1(predicted, targets, weight, torch.tensor(1.0))) == 1.0
