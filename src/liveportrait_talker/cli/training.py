"""`liveportrait-talker dataset …`, `train`, `evaluate` and `export`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import EndedEarly, OptionError
from ..progress import OnProgress
from ..system.devices import DEVICES, require_torch
from ..system.ray_cluster import Cluster, add_cluster_options, cluster_from
from ..training.download import DownloadOptions, download
from ..training.fetch import FetchPolicy
from ..training.options import ExtractOptions, Problem, Split, TrainOptions
from ..training.video_jobs import postpone
from .console import Bars, print_out
from .flags import add_options, options_from

_MB = 1_000_000


def add_training_parsers(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the training commands."""
    dataset = commands.add_parser("dataset", help="make training data from videos")
    inner = dataset.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_download(inner, common)
    _add_extract(inner, common)
    _add_train(commands, common)
    _add_evaluate(commands, common)
    _add_export(commands, common)


def _add_download(inner: Any, common: argparse.ArgumentParser) -> None:
    text = "download the videos of a VoxCeleb2 (or VoxCeleb1) metadata tree and cut their utterances"
    parser = inner.add_parser(
        "download",
        parents=[common],
        help=text,
        description=f"{text.capitalize()}. Repeat the command to resume a stopped run. Videos that cannot be "
        "downloaded are counted and do not end the run.",
    )
    parser.set_defaults(run=_download)
    add = parser.add_argument
    add("metadata", type=Path, metavar="METADATA", help="folder of <speaker>/<youtube id>/*.txt")
    add("dataset", type=Path, metavar="DATASET", help="folder of the clips; created where missing")
    _add_json(parser)
    add_options(parser, DownloadOptions)
    policy, add = FetchPolicy(), parser.add_argument_group("videos").add_argument
    add("--rate-limit", type=float, metavar="MB", help="megabytes/s of all downloads together")
    for flag, kind, unit, default, text in (
        ("--address-template", str, "URL", policy.address_template, "address of a video, with {id}"),
        ("--max-height", int, "LINES", policy.max_height, "maximum video height, where there is a choice"),
        ("--sleep-interval", float, "SECONDS", policy.sleep_seconds, "pause before each download"),
        ("--attempts", int, "N", policy.attempts, "attempts per run at temporary failures"),
        ("--timeout", float, "SECONDS", policy.timeout, "seconds without a response or a byte"),
        ("--max-size", int, "MB", policy.max_bytes // _MB, "maximum size of a video in megabytes"),
    ):
        add(flag, type=kind, metavar=unit, default=default, help=f"{text} (default {default})")
    add_cluster_options(parser)


def _add_extract(inner: Any, common: argparse.ArgumentParser) -> None:
    text = "extract 3DMM coefficients and LivePortrait's keypoints from the clips, once"
    parser = inner.add_parser(
        "extract",
        parents=[common],
        help=text,
        description=f"{text[0].upper() + text[1:]}: training decodes no video. Repeat the command to resume a stopped "
        "run. Broken clips are counted and do not end the run.",
    )
    parser.set_defaults(run=_extract)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder with clips/<speaker>/<video>/*.mp4")
    parser.add_argument("--metadata", type=Path, metavar="DIR", help="the tree of text files with the face boxes")
    _add_json(parser)
    add_options(parser, ExtractOptions)
    add_cluster_options(parser)


def _add_train(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "train a MappingNet on extracted records"
    parser = commands.add_parser(
        "train",
        parents=[common],
        help=text,
        description=f"{text.capitalize()}. Repeat the command to resume a stopped run. Under torchrun or SLURM give "
        "the same --devices and --nodes.",
    )
    parser.set_defaults(run=_train)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder with records/")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder of this run")
    _add_json(parser)
    for options in (Problem, TrainOptions, Split):
        add_options(parser, options)


def _add_evaluate(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "compare a MappingNet with the true keypoints of held-out speakers and with two baselines"
    parser = commands.add_parser("evaluate", parents=[common], help=text, description=text[0].upper() + text[1:])
    parser.set_defaults(run=_evaluate)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder with records/")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="folder of `train`, checkpoint or exported file (default: the installed network)",
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="also plot the errors")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="device of the network")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument("--split-seed", type=int, metavar="N", help="seed of the split (default: as in training)")
    parser.add_argument("--val-share", type=float, metavar="SHARE", help="validation share (default: as in training)")


def _add_export(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "write the best network of a training run as one file for `models import` and `generate --mapping`"
    parser = commands.add_parser("export", parents=[common], help=text, description=text[0].upper() + text[1:])
    parser.set_defaults(run=_export)
    parser.add_argument("trained", type=Path, metavar="RUN", help="folder of `train`, or one of its checkpoints")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="such as mappingnet.safetensors")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")


def _download(arguments: argparse.Namespace) -> int:
    cluster = cluster_from(arguments)
    policy = FetchPolicy(
        address_template=arguments.address_template,
        max_height=arguments.max_height,
        rate_limit=_rate_limit(arguments, cluster),
        sleep_seconds=arguments.sleep_interval,
        attempts=arguments.attempts,
        timeout=arguments.timeout,
        max_bytes=arguments.max_size * _MB,
    )
    options = options_from(DownloadOptions, arguments, policy=policy)
    run = None if cluster is None else lambda worker, jobs: cluster.map(worker, jobs, on_lost=postpone)
    return _run_and_report(
        arguments,
        lambda on_progress: download(arguments.metadata, arguments.dataset, options, on_progress=on_progress, run=run),
    )


def _rate_limit(arguments: argparse.Namespace, cluster: Cluster | None) -> float | None:
    """Return bytes/s such that all workers together keep --rate-limit; `download` divides by --parallel."""
    if arguments.rate_limit is None:
        return None
    return float(arguments.rate_limit * _MB * (1.0 if cluster is None else arguments.parallel / cluster.workers))


def _extract(arguments: argparse.Namespace) -> int:
    require_torch("dataset extract")
    from ..training.extract import extract

    cluster = cluster_from(arguments)
    options = options_from(ExtractOptions, arguments)
    run = None if cluster is None else lambda worker, jobs: cluster.map(worker, jobs, on_lost=postpone)
    return _run_and_report(
        arguments,
        lambda on_progress: extract(arguments.dataset, arguments.metadata, options, on_progress=on_progress, run=run),
    )


def _train(arguments: argparse.Namespace) -> int:
    require_training("train")
    from ..training.fit import train

    problem, split = options_from(Problem, arguments), options_from(Split, arguments)
    options = options_from(TrainOptions, arguments, problem=problem, split=split)
    with Bars(quiet=arguments.quiet) as on_progress:
        report = train(arguments.dataset, arguments.out, options, on_progress=on_progress)
    if report is not None:  # None in all processes but the first
        _print_report(report, arguments)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    require_training("evaluate")
    from ..training.checkpoint import load_trained
    from ..training.evaluate import evaluate

    trained = load_trained(arguments.model)
    given = {"seed": arguments.split_seed, "val_share": arguments.val_share}
    split = dataclasses.replace(
        trained.split or Split(), **{name: value for name, value in given.items() if value is not None}
    )
    with Bars(quiet=arguments.quiet) as on_progress:
        result = evaluate(
            arguments.dataset,
            trained,
            split=split,
            device=arguments.device,
            plot=arguments.plot,
            on_progress=on_progress,
        )
    print_out(json.dumps(result.as_json(), indent=1) if arguments.json else str(result))
    if arguments.plot is not None and not arguments.json:
        print_out(f"plot: {arguments.plot}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    require_training("export")
    from ..training.checkpoint import export

    path = export(arguments.trained, arguments.out, overwrite=arguments.overwrite)
    print_out(f"{path}: use it with liveportrait-talker generate … --mapping {path}, or models import {path}")
    return 0


def require_training(command: str) -> None:
    """Raise, with the install command, where PyTorch (WeightsError) or Lightning (OptionError) is not installed."""
    require_torch(command)
    if importlib.util.find_spec("lightning") is None:
        raise OptionError(f"{command} needs Lightning: pip install 'liveportrait-talker[train]'.")


def _run_and_report(arguments: argparse.Namespace, run: Callable[[OnProgress], Any]) -> int:
    """Run a command and print its report, even if it ended early."""
    try:
        with Bars(quiet=arguments.quiet) as on_progress:
            report = run(on_progress)
    except EndedEarly as error:
        _print_report(error.report, arguments)
        raise
    _print_report(report, arguments)
    return 0


def _print_report(report: Any, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_out(json.dumps(dataclasses.asdict(report), indent=1, default=str))
    elif not arguments.quiet:
        print_out(str(report))
