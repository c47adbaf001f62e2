"""`liveportrait-talker dataset …`: the stages that make training data, each a verb."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from .download import DownloadOptions, download
from .fetch import FetchPolicy

OnProgress = Callable[[str, int, int], None]
Progress = Callable[[bool], AbstractContextManager[OnProgress]]
_MB = 1_000_000


def add_training_parsers(verbs: Any, common: argparse.ArgumentParser, bars: Progress | None = None) -> None:
    """Add `dataset` with its verbs to the command line. `bars(quiet)` makes what shows progress; none by default."""
    dataset = verbs.add_parser("dataset", help="make training data from videos")
    inner = dataset.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = bars or (lambda quiet: nullcontext(lambda stage, done, total: None))
    _add_download(inner, common, show)


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
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    parser.add_argument("--dry-run", action="store_true", help="count and estimate, fetch nothing")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N source videos of the sorted tree")
    parser.add_argument("--retry-failed", action="store_true", help="try again what failed for good, too")
    options, policy = DownloadOptions(), FetchPolicy()
    add = _adder(parser)
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


def _adder(parser: argparse.ArgumentParser) -> Callable[[str, Any, str, Any, str], None]:
    def add(flag: str, kind: Any, unit: str, default: Any, text: str) -> None:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        parser.add_argument(flag, type=kind, metavar=unit, default=default, help=f"{text} (default {shown})")

    return add


def _download(arguments: argparse.Namespace, show: Progress) -> int:
    options = DownloadOptions(
        policy=FetchPolicy(
            address_template=arguments.address_template,
            max_height=arguments.max_height,
            rate_limit=None if arguments.rate_limit is None else arguments.rate_limit * _MB,
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
    with show(arguments.quiet) as tell:
        report = download(arguments.metadata, arguments.dataset, options, on_progress=tell)
    text = json.dumps(dataclasses.asdict(report), indent=1, default=str) if arguments.json else str(report)
    sys.stdout.write(text + "\n")
    return 0
