"""The 2024 original's `train.py` on top of the training package (docs/method/original.md, Commands)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..cli.console import Bars, prepare_streams, print_out
from ..cli.main import Parser, guarded
from ..errors import OptionError, WeightsError
from ..system.devices import require_torch
from .config import DOWNLOAD, SECTIONS, THREEDMM, TRAIN
from .schema import read_section

MODES = ("download", "threedmm", "thredmm", "train")
"""The original's code and README spell the second one differently."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one mode. Returns the exit code: 0 success, 1 internal error, 2 user error, 130 Ctrl-C."""
    prepare_streams()
    arguments = _parser().parse_args(argv)
    return guarded(lambda: _run(arguments), debug=arguments.debug, quiet=arguments.quiet)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="train.py", description="The 2024 original's command: download, extract (threedmm), train.")
    add = parser.add_argument
    add("--config_path", type=Path, required=True, metavar="YAML", help="such as examples/config.yaml")
    add("--mode", "--model", choices=MODES, required=True, help="step to run; --model is an alias")
    add("--experiment_name", metavar="NAME", help="train: folder of this run in checkpoint_save_path")
    add("--debug", action="store_true", help="show the traceback of an error")
    add("--quiet", action="store_true", help="no progress, no notes, only errors")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace, Bars], Any] = {"download": _download, "train": _train}.get(
        arguments.mode, _extract
    )
    with Bars(quiet=arguments.quiet) as bars:
        report = run(arguments, bars)
    if report is not None and not arguments.quiet:
        print_out(str(report))
    return 0


def _download(arguments: argparse.Namespace, bars: Bars) -> Any:
    from ..training.download import download

    values = read_section(arguments.config_path, DOWNLOAD, SECTIONS)
    return download(Path(values["raw_folder_path"]), Path(values["dataset_folder_path"]), on_progress=bars)


def _extract(arguments: argparse.Namespace, bars: Bars) -> Any:
    require_torch("train.py --mode threedmm")
    from ..training.extract import extract
    from ..training.options import ExtractOptions

    values = read_section(arguments.config_path, THREEDMM, SECTIONS)
    weights = []
    for key, network in (
        ("sadtalker_checkpoint_path", "sadtalker_face_3drecon"),
        ("motion_extractor_checkpoint_path", "motion_extractor"),
    ):
        if values[key] is not None:
            if not Path(values[key]).is_file():
                raise WeightsError(f"{key} in {arguments.config_path.name} does not exist: {values[key]}.")
            weights.append((network, values[key]))
    options = ExtractOptions(device=values["device"], batch_size=values["batch_size"])
    raw = Path(values["raw_folder_path"])
    return extract(
        Path(values["dataset_folder_path"]),
        raw if raw.is_dir() else None,
        options,
        weights=tuple(weights),
        on_progress=bars,
    )


def _train(arguments: argparse.Namespace, bars: Bars) -> Any:
    from ..cli.training import require_training

    if not arguments.experiment_name:
        raise OptionError("--mode train needs a name for the run: give --experiment_name NAME.")
    if Path(arguments.experiment_name).name != arguments.experiment_name:
        raise OptionError(f"--experiment_name {arguments.experiment_name} is a path: give a plain name.")
    require_training("train.py --mode train")
    from ..training.fit import train
    from ..training.options import Problem, TrainOptions

    values = read_section(arguments.config_path, TRAIN, SECTIONS)
    options = TrainOptions(
        problem=Problem(radius=values["dataset_cfg.semantic_radius"], learning_rate=values["learning_rate"]),
        run_frames=1,  # the original's samples are single frames
        batch_size=values["batch_size"],
        workers=values["num_workers"],
        device=values["device"],
    )
    out = Path(values["checkpoint_save_path"]) / arguments.experiment_name
    return train(Path(values["train_dataset_folder_path"]), out, options, on_progress=bars)
