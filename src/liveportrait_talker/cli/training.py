"""`liveportrait-talker dataset …`, `train`, `evaluate`, `export`: each verb a thin door on its module."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import EndedEarly, OptionError
from ..progress import OnProgress, ignore_progress
from ..system.devices import DEVICES, require_torch
from ..system.ray_cluster import Cluster, add_cluster_options, cluster_from
from ..training.download import DownloadOptions, download
from ..training.download import lost as lost_video
from ..training.fetch import FetchPolicy
from ..training.options import PRECISIONS, ExtractOptions, Problem, Split, TrainOptions
from .console import print_out

Progress = Callable[[bool], AbstractContextManager[OnProgress]]
_MB = 1_000_000


def add_training_parsers(verbs: Any, common: argparse.ArgumentParser, bars: Progress | None = None) -> None:
    """Add the verbs to the command line. `bars(quiet)` makes what shows progress; none by default."""
    show = bars or (lambda quiet: nullcontext(ignore_progress))
    dataset = verbs.add_parser("dataset", help="make training data from videos")
    inner = dataset.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_download(inner, common, show)
    _add_extract(inner, common, show)
    _add_train(verbs, common, show)
    _add_evaluate(verbs, common, show)
    _add_export(verbs, common)


def _add_download(inner: Any, common: argparse.ArgumentParser, show: Progress) -> None:
    text = "fetch the videos of a VoxCeleb2 (or VoxCeleb1) metadata tree and cut their utterances"
    parser = inner.add_parser(
        "download",
        parents=[common],
        help=text,
        description=f"{text.capitalize()}. The same command again goes on where a run stopped. A video that cannot "
        "be had is counted and does not end the run.",
    )
    parser.set_defaults(run=lambda arguments: _download(arguments, show))
    parser.add_argument("metadata", type=Path, metavar="METADATA", help="folder of <speaker>/<youtube id>/*.txt")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder for the clips; made where missing")
    parser.add_argument("--dry-run", action="store_true", help="count and estimate, fetch nothing")
    options, policy = DownloadOptions(), FetchPolicy()
    add = _adder(parser)
    _add_common(parser, videos=True)
    add("--parallel", int, "N", options.parallel, "videos at a time, 1…16")
    add("--seed", int, "N", options.seed, "of the split into train and val speakers")
    add("--val-share", float, "SHARE", options.val_share, "share of the speakers kept for validation, 0…0.9")
    add("--address-template", str, "URL", policy.address_template, "where videos come from")
    add("--max-height", int, "LINES", policy.max_height, "lines of the picture, where there is a choice")
    parser.add_argument("--rate-limit", type=float, metavar="MB", help="megabytes a second of all downloads together")
    add("--sleep-interval", float, "SECONDS", policy.sleep_seconds, "pause before each download")
    add("--attempts", int, "N", policy.attempts, "attempts in one run at what may pass")
    add("--timeout", float, "SECONDS", policy.timeout, "without an answer or a byte")
    add("--max-size", int, "MB", policy.max_bytes // _MB, "megabytes of a video; a larger one is refused")
    add_cluster_options(parser)


def _add_extract(inner: Any, common: argparse.ArgumentParser, show: Progress) -> None:
    text = "extract 3DMM coefficients and LivePortrait's key points from the clips, once"
    parser = inner.add_parser(
        "extract",
        parents=[common],
        help=text,
        description=f"{text[0].upper() + text[1:]}: training decodes no video. The same command again goes on where a "
        "run stopped. A broken clip is counted and does not end the run.",
    )
    parser.set_defaults(run=lambda arguments: _extract(arguments, show))
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder with clips/<speaker>/<video>/*.mp4")
    parser.add_argument(
        "--metadata", type=Path, metavar="DIR", help="the tree of text files, whose boxes say where the face is"
    )
    options = ExtractOptions()
    add = _adder(parser)
    _add_common(parser, videos=True)
    parser.add_argument("--redo", action="store_true", help="make records of other extractors anew")
    parser.add_argument("--device", choices=DEVICES, default=options.device, help="where the networks run")
    add("--batch-size", int, "N", options.batch_size, "faces that go through a network at once, 1…512")
    add("--decoders", int, "N", options.decoders, "clips that are decoded ahead of the networks, 0…64")
    add_cluster_options(parser)


def _add_train(verbs: Any, common: argparse.ArgumentParser, show: Progress) -> None:
    text = "train a MappingNet on extracted records"
    parser = verbs.add_parser(
        "train",
        parents=[common],
        help=text,
        description=f"{text.capitalize()}. The same command again goes on where a run stopped. Under torchrun or SLURM "
        "give --devices and --nodes as there.",
    )
    parser.set_defaults(run=lambda arguments: _train(arguments, show))
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder with records/")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder of this run")
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    options, problem = TrainOptions(), Problem()
    add = _adder(parser)
    add("--keypoints", str, "SET", problem.keypoints, "lips (what generate wants), all, or numbers 0…20 with commas")
    add("--radius", int, "N", problem.radius, "frames before and after in a window, 12…49")
    add("--learning-rate", float, "R", problem.learning_rate, "of Adam")
    add("--velocity-weight", float, "W", problem.velocity_weight, "weight of the loss on changes from frame to frame")
    add("--width", int, "N", problem.width, "channels of the network; generate wants 1024")
    add("--run-frames", int, "N", options.run_frames, "consecutive frames in a sample; 1 is the original's scheme")
    add("--batch-size", int, "N", options.batch_size, "samples in a batch, of all processes together")
    add("--max-epochs", int, "N", options.max_epochs, "end after so many epochs")
    parser.add_argument(
        "--max-steps", type=int, metavar="N", help="end with the epoch in which there are so many optimiser steps"
    )
    add("--patience", int, "N", options.patience, "epochs without a better validation loss before it ends")
    add("--gradient-clip", float, "NORM", options.gradient_clip, "largest norm of the gradient; 0 for none")
    parser.add_argument("--precision", choices=PRECISIONS, default=options.precision, help="number format")
    parser.add_argument("--device", choices=DEVICES, default=options.device, help="kind of processor")
    add("--devices", int, "N", options.devices, "GPUs (or processes) on each machine; more than one are DDP")
    add("--nodes", int, "N", options.nodes, "machines")
    add("--workers", int, "N", options.workers, "processes that read batches")
    add("--seed", int, "N", options.seed, "another seed is another run")
    _add_split(parser)
    parser.add_argument("--fast-dev-run", action="store_true", help="one batch of each kind, nothing written")


def _add_evaluate(verbs: Any, common: argparse.ArgumentParser, show: Progress) -> None:
    text = "hold a MappingNet against the true key points of held-out speakers, and against two baselines"
    parser = verbs.add_parser("evaluate", parents=[common], help=text, description=text[0].upper() + text[1:])
    parser.set_defaults(run=lambda arguments: _evaluate(arguments, show))
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder with records/")
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="folder of `train`, checkpoint or exported file; else the installed"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the table, too")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where the network runs")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument("--split-seed", type=int, metavar="N", help="another split than the one it was trained with")
    parser.add_argument("--val-share", type=float, metavar="SHARE", help="the same")


def _add_export(verbs: Any, common: argparse.ArgumentParser) -> None:
    text = "write the best network of a training run as one file for `models import` and `generate --mapping`"
    parser = verbs.add_parser("export", parents=[common], help=text, description=text[0].upper() + text[1:])
    parser.set_defaults(run=_export)
    parser.add_argument("trained", type=Path, metavar="RUN", help="folder of `train`, or one of its checkpoints")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="such as mappingnet.safetensors")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")


def _add_common(parser: argparse.ArgumentParser, *, videos: bool) -> None:
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    if videos:
        parser.add_argument("--limit", type=int, metavar="N", help="only the first N source videos, sorted by name")
        parser.add_argument("--retry-failed", action="store_true", help="try again what failed for good, too")


def _add_split(parser: argparse.ArgumentParser) -> None:
    split = Split()
    add = _adder(parser)
    add("--split-seed", int, "N", split.seed, "of the split into train and val speakers")
    add("--val-share", float, "SHARE", split.val_share, "share of the speakers kept for validation")


def _adder(parser: argparse.ArgumentParser) -> Callable[[str, Any, str, Any, str], None]:
    def add(flag: str, kind: Any, unit: str, default: Any, text: str) -> None:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        parser.add_argument(flag, type=kind, metavar=unit, default=default, help=f"{text} (default {shown})")

    return add


def _download(arguments: argparse.Namespace, show: Progress) -> int:
    cluster = cluster_from(arguments)
    options = DownloadOptions(
        policy=FetchPolicy(
            address_template=arguments.address_template,
            max_height=arguments.max_height,
            rate_limit=_rate(arguments, cluster),
            sleep_seconds=arguments.sleep_interval,
            attempts=arguments.attempts,
            timeout=arguments.timeout,
            max_bytes=arguments.max_size * _MB,
        ),
        parallel=arguments.parallel,
        limit=arguments.limit,
        dry_run=arguments.dry_run,
        retry_failed=arguments.retry_failed,
        seed=arguments.seed,
        val_share=arguments.val_share,
    )
    run = None if cluster is None else lambda worker, jobs: cluster.map(worker, jobs, lost=lost_video)
    return _told(
        arguments,
        show,
        lambda tell: download(arguments.metadata, arguments.dataset, options, on_progress=tell, run=run),
    )


def _rate(arguments: argparse.Namespace, cluster: Cluster | None) -> float | None:
    """Bytes a second such that all downloads together keep to --rate-limit: `download` shares it out to --parallel."""
    if arguments.rate_limit is None:
        return None
    return float(arguments.rate_limit * _MB * (1.0 if cluster is None else arguments.parallel / cluster.workers))


def _extract(arguments: argparse.Namespace, show: Progress) -> int:
    require_torch("dataset extract")
    from ..training.extract import extract
    from ..training.extractor import lost

    cluster = cluster_from(arguments)
    options = ExtractOptions(
        device=arguments.device,
        batch_size=arguments.batch_size,
        decoders=arguments.decoders,
        limit=arguments.limit,
        redo=arguments.redo,
        retry_failed=arguments.retry_failed,
    )
    run = None if cluster is None else lambda worker, jobs: cluster.map(worker, jobs, lost=lost)
    return _told(
        arguments, show, lambda tell: extract(arguments.dataset, arguments.metadata, options, on_progress=tell, run=run)
    )


def _train(arguments: argparse.Namespace, show: Progress) -> int:
    require_training("train")
    from ..training.fit import train

    options = TrainOptions(
        problem=Problem(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(Problem)}),
        split=_split(arguments),
        **{
            f.name: getattr(arguments, f.name)
            for f in dataclasses.fields(TrainOptions)
            if f.name not in ("problem", "split")
        },
    )
    with show(arguments.quiet) as tell:
        report = train(arguments.dataset, arguments.out, options, on_progress=tell)
    if report is not None:  # else another process of the run tells
        _print_report(report, arguments)
    return 0


def _evaluate(arguments: argparse.Namespace, show: Progress) -> int:
    require_training("evaluate")
    from ..training.checkpoint import load_trained
    from ..training.evaluate import evaluate

    trained = load_trained(arguments.model)
    with show(arguments.quiet) as tell:
        result = evaluate(
            arguments.dataset,
            trained,
            split=_other_split(arguments, trained.split or Split()),
            device=arguments.device,
            plot=arguments.plot,
            on_progress=tell,
        )
    print_out(json.dumps(result.as_json(), indent=1) if arguments.json else str(result))
    if arguments.plot is not None and not arguments.json:
        print_out(f"drawn in {arguments.plot}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    require_training("export")
    from ..training.checkpoint import export

    path = export(arguments.trained, arguments.out, overwrite=arguments.overwrite)
    print_out(f"{path}: for liveportrait-talker generate … --mapping {path}, or models import {path}")
    return 0


def _split(arguments: argparse.Namespace) -> Split:
    return Split(arguments.split_seed, arguments.val_share)


def _other_split(arguments: argparse.Namespace, own: Split) -> Split:
    seed, share = arguments.split_seed, arguments.val_share
    return Split(own.seed if seed is None else seed, own.val_share if share is None else share)


def require_training(verb: str) -> None:
    """Raise, with the command that mends it, where what training needs is not installed."""
    require_torch(verb)
    if importlib.util.find_spec("lightning") is None:
        raise OptionError(f"{verb} needs Lightning: pip install 'liveportrait-talker[train]' brings it.")


def _told(arguments: argparse.Namespace, show: Progress, work: Callable[[OnProgress], Any]) -> int:
    """Do the work and print its report, that of a run that ended early too, before the error that ended it."""
    try:
        with show(arguments.quiet) as tell:
            report = work(tell)
    except EndedEarly as end:
        _print_report(end.report, arguments)
        raise
    _print_report(report, arguments)
    return 0


def _print_report(report: Any, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_out(json.dumps(dataclasses.asdict(report), indent=1, default=str))
    elif not arguments.quiet:
        print_out(str(report))
