"""`liveportrait-talker batch …`."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from ..batch.run import Stopped, run_batch
from ..batch.work import DONE, FAILED, HERE, JobOutcome, RenderJob, Runner, TalkerWorker, in_order, lost
from ..errors import MediaError, OptionError
from ..progress import OnProgress, ignore_progress
from ..system.ray_cluster import Cluster, add_cluster_options, cluster_of
from .console import print_out, say

Progress = Callable[[bool], AbstractContextManager[OnProgress]]
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def add_batch_parser(verbs: Any, common: argparse.ArgumentParser, bars: Progress | None = None) -> None:
    """Add `batch` to the command line. `bars(quiet)` makes what shows progress; none by default."""
    parser = verbs.add_parser(
        "batch",
        parents=[common],
        help="make many talking videos from a list of jobs",
        description="Make the videos of a list, one after the other, with the networks loaded once. The same command "
        "again goes on where a run stopped. A job that fails is told and does not end the run: exit code 1 then.",
    )
    add = parser.add_argument
    add(
        "jobs",
        type=Path,
        metavar="JOBS",
        help=".jsonl (one object a line) or .csv: source, voice and, as wanted, out, id and any option of generate by "
        "its name; relative paths count from this file's folder, out from --out",
    )
    add("--out", type=Path, default=Path("outputs"), metavar="DIR", help="folder of the videos (default outputs)")
    add("--overwrite", action="store_true", help="replace files; what this batch has finished stays as it is")
    add("--retry-failed", action="store_true", help="try again what failed by its inputs or options, too")
    add("--limit", type=int, metavar="N", help="only the first N jobs of the list")
    add("--dry-run", action="store_true", help="check every line and say what would be made; make nothing")
    add("--json", action="store_true", help="print a machine-readable report on standard output")
    add("--report", type=Path, metavar="FILE", help="write that report to a .json file, too")
    add_cluster_options(parser)
    show = bars or (lambda quiet: nullcontext(ignore_progress))
    parser.set_defaults(run=lambda arguments: _batch(arguments, show))


def _batch(arguments: argparse.Namespace, show: Progress) -> int:
    if arguments.report is not None:
        _check_report(arguments.report)
    for handler in logging.getLogger("liveportrait_talker").handlers:
        handler.addFilter(_Once())
    stopped, cluster = False, cluster_of(arguments)
    run: Runner = in_order
    if cluster is not None:
        run = partial(_on_cluster, cluster)
    try:
        with show(arguments.quiet) as tell:
            report = run_batch(
                arguments.jobs,
                arguments.out,
                overwrite=arguments.overwrite,
                retry_failed=arguments.retry_failed,
                limit=arguments.limit,
                dry_run=arguments.dry_run,
                run=run,
                on_progress=tell,
            )
    except Stopped as stop:
        report, stopped = stop.report, True
    plain = json.dumps(report.as_json() | {"stopped": stopped}, indent=1)
    if arguments.report is not None:
        _write_report(arguments.report, plain)
    if arguments.debug:
        for trace in (outcome.trace for outcome in report.outcomes if outcome.trace):
            say(trace.rstrip("\n"))
    if arguments.json or not arguments.quiet:
        print_out(plain if arguments.json else str(report))
    else:  # notes are off, and these are errors
        for failed in (o for o in report.outcomes if o.state == FAILED):
            say(f"error: {failed.id} failed: {failed.reason}")
    if stopped:
        there = report.count(DONE) + report.count(HERE)
        say(f"stopped: {there} of {len(report.outcomes)} videos are there; the same command resumes.")
        return EXIT_INTERRUPTED
    return 0 if report.good else EXIT_FAILED


def _on_cluster(cluster: Cluster, jobs: Iterable[RenderJob], tell: OnProgress) -> Iterator[JobOutcome]:
    return cluster.map(TalkerWorker(), jobs, lost=lost)


class _Once(logging.Filter):
    """What each job says alike, such as who draws, is said once; warnings always."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """False for what was said before."""
        text = record.getMessage()
        new = record.levelno > logging.INFO or text not in self._said
        self._said.add(text)
        return new


def _check_report(path: Path) -> None:
    """Before any work: raises OptionError for a report that cannot be written."""
    if path.suffix.lower() != ".json" or path.is_dir():  # so that it can replace no jobs file and no input
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
