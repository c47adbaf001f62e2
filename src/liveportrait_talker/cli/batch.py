"""`liveportrait-talker batch …`."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..batch.run import BatchInterrupted, run_batch
from ..batch.work import (
    DONE,
    EXISTING,
    FAILED,
    JobOutcome,
    RenderJob,
    Runner,
    TalkerWorker,
    run_sequentially,
    worker_died,
)
from ..errors import MediaError, OptionError
from ..progress import OnProgress
from ..system.ray_cluster import Cluster, add_cluster_options, cluster_from
from .console import EXIT_FAILURE, EXIT_INTERRUPTED, Bars, print_out, say, show_trace


def add_batch_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `batch`."""
    parser = commands.add_parser(
        "batch",
        parents=[common],
        help="make many talking videos from a list of jobs",
        description="Make the videos of a list, one after the other, with the networks loaded once. Repeat the command "
        "to resume a stopped run. A job that fails does not end the run; the exit code is then 1.",
    )
    add = parser.add_argument
    add(
        "jobs",
        type=Path,
        metavar="JOBS",
        help=".jsonl (one object per line) or .csv with source, voice and optionally out, id and any option of "
        "generate; relative paths refer to this file's folder, out to --out",
    )
    add("--out", type=Path, default=Path("outputs"), metavar="DIR", help="folder of the videos (default outputs)")
    add("--overwrite", action="store_true", help="replace existing files, except videos that this batch has finished")
    add("--retry-failed", action="store_true", help="also retry jobs that failed because of their inputs or options")
    add("--limit", type=int, metavar="N", help="only the first N jobs of the list")
    add("--dry-run", action="store_true", help="check every line and report what would be made, but make nothing")
    add("--json", action="store_true", help="print a machine-readable report on standard output")
    add("--report", type=Path, metavar="FILE", help="also write that report to a .json file")
    add_cluster_options(parser)
    parser.set_defaults(run=_batch)


def _batch(arguments: argparse.Namespace) -> int:
    if arguments.report is not None:
        _check_report_path(arguments.report)
    for handler in logging.getLogger("liveportrait_talker").handlers:
        handler.addFilter(_RepeatedInfoFilter())
    stopped, cluster = False, cluster_from(arguments)
    run: Runner = run_sequentially
    if cluster is not None:
        run = partial(_run_on_cluster, cluster)
    try:
        with Bars(quiet=arguments.quiet) as on_progress:
            report = run_batch(
                arguments.jobs,
                arguments.out,
                overwrite=arguments.overwrite,
                retry_failed=arguments.retry_failed,
                limit=arguments.limit,
                dry_run=arguments.dry_run,
                run=run,
                on_progress=on_progress,
            )
    except BatchInterrupted as interrupt:
        report, stopped = interrupt.report, True
    text = json.dumps(report.as_json() | {"stopped": stopped}, indent=1)
    if arguments.report is not None:
        _write_report(arguments.report, text)
    if arguments.debug:
        for trace in (outcome.trace for outcome in report.outcomes if outcome.trace):
            show_trace(trace)
    if arguments.json or not arguments.quiet:
        print_out(text if arguments.json else str(report))
    else:
        for failed in (o for o in report.outcomes if o.state == FAILED):
            say(f"error: {failed.id} failed: {failed.reason}")
    if stopped:
        finished = report.count(DONE) + report.count(EXISTING)
        say(f"stopped: {finished} of {len(report.outcomes)} videos are finished; the same command resumes.")
        return EXIT_INTERRUPTED
    return 0 if report.succeeded else EXIT_FAILURE


def _run_on_cluster(cluster: Cluster, jobs: Iterable[RenderJob], on_progress: OnProgress) -> Iterator[JobOutcome]:
    return cluster.map(TalkerWorker(), jobs, on_lost=worker_died)


class _RepeatedInfoFilter(logging.Filter):
    """Drops information that an earlier job has logged already, such as the choice of the renderer."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep the record: warnings, and messages that are new."""
        text = record.getMessage()
        new = record.levelno > logging.INFO or text not in self._seen
        self._seen.add(text)
        return new


def _check_report_path(path: Path) -> None:
    """Raise OptionError for a report that could not be written."""
    if path.suffix.lower() != ".json" or path.is_dir():  # the suffix protects jobs files and inputs
        raise OptionError(f"--report {path} must be a file that ends in .json.")
    if not os.access(path.parent, os.W_OK):
        raise OptionError(f"--report {path} cannot be written: there is no such folder, or it is not writable.")


def _write_report(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise MediaError(f"{path} cannot be written ({error.strerror}); the videos are not affected.") from error
