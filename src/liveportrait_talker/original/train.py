"""`train.py` as the 2024 original had it: its modes and its config.yaml, onto our verbs (spec talker.md §14.2)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..cli.console import Bars, print_out
from ..cli.main import Parser, guarded
from ..errors import OptionError, WeightsError
from ..system.devices import require_torch
from .config import SECTIONS
from .schema import read_section
from .train_config import DOWNLOAD, THREEDMM, TRAIN

MODES = ("download", "threedmm", "thredmm", "train")
"""The original's code and its README spell the second one differently."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one mode. Returns the exit code: 0 done, 2 a mistake the user can mend, 1 our failure, 130 Ctrl-C."""
    arguments = _parser().parse_args(argv)
    return guarded(lambda: _run(arguments), debug=arguments.debug, quiet=arguments.quiet)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="train.py", description="The 2024 original's command: download, extract (threedmm), train.")
    add = parser.add_argument
    add("--config_path", type=Path, required=True, metavar="YAML", help="such as examples/config.yaml")
    add("--mode", "--model", choices=MODES, required=True, help="what to do; --model is the same")
    add("--experiment_name", metavar="NAME", help="train: the folder of this run below checkpoint_save_path")
    add("--debug", action="store_true", help="show the traceback of an error")
    add("--quiet", action="store_true", help="no progress, no notes, only errors")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    verb: Callable[[argparse.Namespace, Bars], Any] = {"download": _download, "train": _train}.get(
        arguments.mode, _extract
    )
    with Bars(quiet=arguments.quiet) as bars:
        report = verb(arguments, bars)
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
                raise WeightsError(f"{arguments.config_path.name} names a file that does not exist: {values[key]}.")
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

    if not arguments.experiment_name:  # the original printed a line and left with 0
        raise OptionError("--mode train needs a name for the run: add --experiment_name NAME.")
    if Path(arguments.experiment_name).name != arguments.experiment_name:
        raise OptionError(f"--experiment_name {arguments.experiment_name} is a path: give a plain name.")
    require_training("train.py --mode train")
    from ..training.fit import train
    from ..training.options import Problem, TrainOptions

    values = read_section(arguments.config_path, TRAIN, SECTIONS)
    options = TrainOptions(
        problem=Problem(radius=values["dataset_cfg.semantic_radius"], learning_rate=values["learning_rate"]),
        run_frames=1,  # its samples were single frames
        batch_size=values["batch_size"],
        workers=values["num_workers"],
        device=values["device"],
    )
    out = Path(values["checkpoint_save_path"]) / arguments.experiment_name
    return train(Path(values["train_dataset_folder_path"]), out, options, on_progress=bars)
