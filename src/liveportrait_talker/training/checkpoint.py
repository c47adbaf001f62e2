"""Checkpoints of trained MappingNets: selecting, exporting and loading them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..driving.sadtalker.nets import MappingNet
from ..errors import OptionError, WeightsError
from ..motion.lips import LIP_KEYPOINTS
from ..system.partial_files import is_disk_full, weights_disk_full
from ..weights import importing, store
from ..weights.checkpoints import file_metadata
from ..weights.conversion import window_rows
from ..weights.integrity import structure_error
from ..weights.torch_files import TorchFileError, read_torch_file
from .options import Problem, Split

PREFIX = "mappingnet."
"""Of the network's keys in a checkpoint."""
EXPORTED = "mappingnet.safetensors"
"""File name of the network exported at the end of a run."""
RELEASED_WIDTH = 1024
"""Channels of the released network."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained MappingNet with its metadata."""

    net: MappingNet
    keypoints: tuple[int, ...]
    """Numbers of LivePortrait's 21 keypoints that it predicts."""
    rows: int
    """Length of its windows."""
    source: str
    split: Split | None = None
    """The split that it was trained with, if known."""


def best_checkpoint(run: Path) -> Path:
    """Return the checkpoint with the lowest validation loss in the folder of a run, or `run` itself if it is a file.

    Raises:
        WeightsError: there is none.
    """
    if run.is_file():
        return run
    found = list((run / "checkpoints").glob("epoch*.ckpt"))
    if not found:
        raise WeightsError(
            f"{run} has no checkpoints/epoch….ckpt: give the folder that `train` wrote, or one such file."
        )
    return min(found, key=lambda path: (_validation_loss(path), path.name))


def _validation_loss(path: Path) -> float:
    try:
        return float(path.stem.rpartition("val_loss")[2].split("-v")[0])
    except ValueError:
        return float("inf")


def read_checkpoint(path: Path) -> tuple[Problem, dict[str, torch.Tensor], dict[str, Any]]:
    """Return the problem, the network's state dict and the whole content of a checkpoint of `train`.

    Raises:
        WeightsError: it is not such a checkpoint.
    """
    try:
        if reason := structure_error(path):
            raise TorchFileError(reason)
        file = read_torch_file(path)
        problem = Problem(**file.content["problem"])
        stored = {k.removeprefix(PREFIX): v for k, v in file.content["state_dict"].items() if k.startswith(PREFIX)}
        with torch.device("meta"):
            net = MappingNet(width=problem.width, keypoints=len(problem.keypoint_numbers))
        shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
        if shapes != {name: file.describe(tensor).shape for name, tensor in stored.items()}:
            raise TorchFileError("holds another network than it describes")
        tensors = {name: file.read(tensor) for name, tensor in stored.items()}
    except TorchFileError as error:
        raise WeightsError(f"{path} is not a checkpoint of `train`: it {error}.") from error
    except (OptionError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise WeightsError(f"{path} is not a checkpoint of `train` ({type(error).__name__}).") from error
    return problem, tensors, file.content


def read_split(content: Mapping[str, Any]) -> Split:
    """Return the split that a checkpoint was trained with."""
    return Split(**content["split"]) if "split" in content else Split()


def export(run: Path, out: Path, *, dataset: str | None = None, overwrite: bool = False) -> Path:
    """Write the best network of a training run as a safetensors file for `models import` and `generate --mapping`.

    Its metadata states network, rows, keypoints, problem, data set, split, validation loss, epoch and version.

    Raises:
        WeightsError: there is no checkpoint, `generate` cannot use it, or the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if out.exists() and not overwrite:
        raise WeightsError(f"{out} exists already; use --overwrite to replace it, or choose another file.")
    path = best_checkpoint(run)
    problem, tensors, content = read_checkpoint(path)
    if problem.keypoint_numbers != LIP_KEYPOINTS or problem.width != RELEASED_WIDTH:
        raise WeightsError(
            f"{path} was trained for {len(problem.keypoint_numbers)} keypoints with {problem.width} channels; generate "
            f"needs the six lip keypoints and {RELEASED_WIDTH} channels. It can be evaluated, not exported."
        )
    metadata = {
        "network": "mappingnet",
        "rows": str(problem.rows),
        "keypoints": json.dumps(problem.keypoint_numbers),
        "problem": json.dumps(asdict(problem)),
        "dataset": dataset or str(content.get("dataset", "")),
        "split": json.dumps(asdict(read_split(content))),
        "val_loss": repr(_validation_loss(path)),
        "epoch": str(content.get("epoch", "")),
        "made_by": f"liveportrait-talker {__version__}",
    }
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        save_file({k: v.contiguous() for k, v in tensors.items()}, part, metadata=metadata)
        part.chmod(0o644)
        part.replace(out)
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            raise weights_disk_full(part) from error
        raise WeightsError(f"{out} cannot be written ({error}).") from error
    finally:
        part.unlink(missing_ok=True)
    return out


def load_trained(model: Path | None) -> Trained:
    """Load a MappingNet for evaluation: of a run's folder, a checkpoint, an exported file, or (None) the installed one.

    Raises:
        OptionError: `model` does not exist.
        WeightsError: it is not a MappingNet, or none is installed.
    """
    if model is not None and (model.is_dir() or model.suffix == ".ckpt"):
        path = best_checkpoint(model)
        problem, tensors, content = read_checkpoint(path)
        net = MappingNet(width=problem.width, keypoints=len(problem.keypoint_numbers))
        net.load_state_dict(tensors, strict=True)
        net.eval().requires_grad_(False)
        return Trained(net, problem.keypoint_numbers, problem.rows, str(path), read_split(content))
    if model is not None and not model.exists():
        raise OptionError(f"{model} does not exist: give a folder of `train`, a checkpoint, or an exported file.")
    loaded: nn.Module = importing.load_network("mappingnet", MappingNet, file=model)
    assert isinstance(loaded, MappingNet)
    metadata = importing.metadata("mappingnet") if model is None else file_metadata(store.path(model))
    source = model or store.converted_path("mappingnet")
    try:
        split = Split(**json.loads(metadata["split"])) if "split" in metadata else None
    except (OptionError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{source} states a split of the speakers that is none: export it again.") from error
    return Trained(loaded, LIP_KEYPOINTS, window_rows(metadata, source), str(source), split)
