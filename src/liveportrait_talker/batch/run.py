"""A whole list of jobs, resumed after any end; its report."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import MediaError, OptionError
from ..progress import OnProgress
from ..system import journal as status
from ..system.journal import Entry, Journal, read_entries
from .jobs import read_jobs
from .work import DONE, FAILED, HERE, LEFT, TO_DO, JobOutcome, RenderJob, Runner, in_order

log = logging.getLogger(__name__)

JOURNAL = "batch.journal"
"""In the folder of the videos."""
_KEPT = ("frames", "video_seconds", "elapsed_seconds", "renderer")
"""What the journal keeps of a finished job."""
_IN_ALL = {DONE: "made", HERE: "there before", FAILED: "failed", TO_DO: "to make", LEFT: "not reached"}


@dataclass(frozen=True)
class BatchReport:
    """What became of every job."""

    folder: Path
    outcomes: tuple[JobOutcome, ...]
    """In the order of the lines."""
    elapsed_seconds: float

    def count(self, state: str) -> int:
        """Number of jobs in this state."""
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def good(self) -> bool:
        """All videos are there, or could be made if this was a dry run."""
        return not self.count(FAILED) and not self.count(LEFT)

    @property
    def frames(self) -> int:
        """Made in this run."""
        return sum(outcome.frames or 0 for outcome in self.outcomes if outcome.state == DONE)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json` and `--report`."""
        return {
            "folder": str(self.folder),
            **{state.replace(" ", "_"): self.count(state) for state in (DONE, HERE, FAILED, TO_DO, LEFT)},
            "frames": self.frames,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "speed_fps": round(self.frames / max(self.elapsed_seconds, 1e-9), 2),
            "version": __version__,
            "jobs": [outcome.as_json() for outcome in self.outcomes],
        }

    def __str__(self) -> str:
        names = max((len(outcome.id) for outcome in self.outcomes), default=0)
        rows = [_row(outcome, min(names, 40)) for outcome in self.outcomes]
        counts = [f"{self.count(state)} {words}" for state, words in _IN_ALL.items() if self.count(state)]
        if self.frames:
            seconds = self.elapsed_seconds
            counts.append(f"{self.frames} frames in {seconds:.1f} s ({self.frames / seconds:.3g} frames/s)")
        return "\n".join([*rows, f"{', '.join(counts)}; videos in {self.folder}"])


def _row(outcome: JobOutcome, width: int) -> str:
    """state, id, frames, seconds, frames/s, where or why."""
    made, seconds = outcome.frames, outcome.elapsed_seconds
    numbers = "" if not made or not seconds else f"{made:6d} frames {seconds:8.1f} s {made / seconds:6.3g} frames/s"
    return f"{outcome.state:8}  {outcome.id:{width}}  {numbers:36}  {outcome.reason or outcome.out}"


class Stopped(KeyboardInterrupt):
    """Ctrl-C during a batch. What is finished is kept, and `report` has it."""

    def __init__(self, report: BatchReport) -> None:
        super().__init__()
        self.report = report


def run_batch(
    jobs: Path,
    folder: Path,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    dry_run: bool = False,
    run: Runner = in_order,
    on_progress: OnProgress | None = None,
) -> BatchReport:
    """Make the videos of a jobs file; those that an earlier run has finished there stay as they are.

    Args:
        jobs: see `batch.read_jobs`.
        folder: where videos and the journal go; made where missing.
        overwrite: replace files that no earlier run of the batch has made for the same job.
        retry_failed: try again what failed by its inputs or options; what failed by circumstances is always tried.
        limit: only the first so many jobs of the file.
        dry_run: check every line, read the journal, write nothing.
        run: does the work; see `batch.Runner`.
        on_progress: called with the stage `videos` after each job, and with the stages of the one that is made.

    Raises:
        TalkerError: the jobs file or the folder cannot be used. A job that fails is told by the report instead.
        Stopped: Ctrl-C.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"--limit {limit} is out of range: give 1 or more.")
    started = time.monotonic()
    lines = read_jobs(jobs, folder, overwrite=overwrite)[:limit]
    ready = [line for line in lines if isinstance(line, RenderJob)]
    found = {line.line: line for line in lines if isinstance(line, JobOutcome)}
    place = folder / JOURNAL
    try:
        with nullcontext() if dry_run or not ready else Journal(place) as journal:
            entries = read_entries(place) if journal is None else journal.entries
            found |= _settled(ready, entries, retry_failed)
            for line in sorted(found):
                _tell_failure(found[line])
            todo = _by_networks([job for job in ready if job.line not in found])
            if journal is None:
                found |= {job.line: job.outcome(TO_DO) for job in todo}
            else:
                _sweep(ready, entries)
                _work(todo, found, journal, run, on_progress or _silent)
    except KeyboardInterrupt:
        raise Stopped(_report(folder, ready, found, started)) from None
    return _report(folder, ready, found, started)


def _work(
    todo: Sequence[RenderJob], found: dict[int, JobOutcome], journal: Journal, run: Runner, tell: OnProgress
) -> None:
    """Put the outcome of each job into the journal and into `found`."""
    tell("videos", 0, len(todo))
    for done, outcome in enumerate(run(_handed_out(todo, journal), tell), 1):
        if outcome.state == DONE:
            kept = {name: getattr(outcome, name) for name in _KEPT}
            journal.add(outcome.key, {"status": status.DONE, "out": _real(outcome.out), **kept})
        else:
            kind = status.LATER if outcome.again else status.FAILED
            journal.add(outcome.key, {"status": kind, "reason": outcome.reason})
        found[outcome.line] = outcome
        _tell_failure(outcome)
        tell("videos", done, len(todo))


def _handed_out(jobs: Iterable[RenderJob], journal: Journal) -> Iterator[RenderJob]:
    """The jobs, each put into the journal before it begins.

    A kill can come between a video and its line in the journal. `fresh` says that no file had the name before: one that
    has it later is the video, for a file takes its name when it is complete.
    """
    owners = {entry.get("out"): key for key, entry in journal.entries.items() if _owns(entry)}
    for job in jobs:
        out = _real(job.out)
        if (owner := owners.get(out, job.key)) != job.key:
            journal.add(owner, {"status": status.LATER, "reason": "another job has taken its name"})
        fresh = not job.out.exists()
        journal.add(job.key, {"status": status.LATER, "reason": "it was stopped", "out": out, "fresh": fresh})
        yield dataclasses.replace(job, fresh=fresh)


def _settled(jobs: Sequence[RenderJob], entries: Mapping[str, Entry], retry_failed: bool) -> dict[int, JobOutcome]:
    """Line → outcome of the jobs that need no work, or cannot be done as things are."""
    from ..media import check_output

    inputs = {_real(path) for job in jobs for path in job.inputs}
    found = {}
    for job in jobs:
        entry = entries.get(job.key, {})
        if _owns(entry) and job.out.is_file():
            kept: dict[str, Any] = {name: entry.get(name) for name in _KEPT}
            found[job.line] = job.outcome(HERE, **kept)
            continue
        if entry.get("status") == status.FAILED and not retry_failed:
            reason = f"{str(entry.get('reason')).rstrip('.')} (an earlier run says so; --retry-failed tries it again)"
            found[job.line] = job.outcome(FAILED, reason)
            continue
        try:
            if _real(job.out) in inputs:
                raise MediaError(f"{job.out} is an input of one of the jobs and would be lost; name another out")
            folder = job.out.parent
            while job.own_folder and not os.path.lexists(folder):
                folder = folder.parent
            check_output(folder / job.out.name, job.overwrite)
        except MediaError as error:
            found[job.line] = job.outcome(FAILED, str(error), again=True)
    return found


def _owns(entry: Entry) -> bool:
    """Is the file that an entry names the video of its job?"""
    return entry.get("status") == status.DONE or entry.get("fresh") is True


def _by_networks(jobs: Sequence[RenderJob]) -> list[RenderJob]:
    """Those that need the same networks together, in the given order otherwise: one set is in memory at a time."""
    sets = list(dict.fromkeys(_networks(job) for job in jobs))
    return sorted(jobs, key=lambda job: sets.index(_networks(job)))


def _networks(job: RenderJob) -> tuple[str, str, str]:
    return job.options.device, job.options.precision, job.options.compile


def _sweep(jobs: Iterable[RenderJob], entries: Mapping[str, Entry]) -> None:
    """Remove the hidden files under which `VideoWriter` was writing these jobs' videos when a run was killed."""
    for job in jobs:
        if job.own_folder and "fresh" in entries.get(job.key, {}):
            pattern = f".{glob.escape(job.out.stem[:40])}.{'[0-9a-f]' * 8}.part.mp4"
            for part in job.out.parent.glob(pattern):
                with contextlib.suppress(OSError):
                    part.unlink()


def _report(folder: Path, ready: Iterable[RenderJob], found: Mapping[int, JobOutcome], started: float) -> BatchReport:
    outcomes = {job.line: job.outcome(LEFT) for job in ready} | dict(found)
    return BatchReport(folder, tuple(outcomes[line] for line in sorted(outcomes)), time.monotonic() - started)


def _tell_failure(outcome: JobOutcome) -> None:
    if outcome.state == FAILED:
        log.warning("%s failed: %s", outcome.id, outcome.reason)


def _real(path: Path | None) -> str:
    return "" if path is None else os.path.realpath(path)


def _silent(stage: str, done: int, total: int) -> None:
    """No progress wanted."""
