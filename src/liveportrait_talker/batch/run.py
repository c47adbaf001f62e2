"""Running a list of jobs, with resumption, and its report."""

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
from ..progress import OnProgress, ignore_progress
from ..system import journal as status
from ..system.journal import Entry, Journal, read_entries
from .jobs import read_jobs
from .work import (
    DONE,
    EXISTING,
    FAILED,
    NOT_REACHED,
    PLANNED,
    JobOutcome,
    RenderJob,
    Runner,
    one_line,
    run_sequentially,
)

log = logging.getLogger(__name__)

JOURNAL = "batch.journal"
"""File name of the journal in the folder of the videos."""
_JOURNAL_FIELDS = ("frames", "video_seconds", "elapsed_seconds", "renderer")
"""Fields of a finished job's outcome that the journal stores."""
_STATE_LABELS = {
    DONE: "made",
    EXISTING: "made before",
    FAILED: "failed",
    PLANNED: "to make",
    NOT_REACHED: "not reached",
}


@dataclass(frozen=True)
class BatchReport:
    """Outcomes of all jobs."""

    folder: Path
    outcomes: tuple[JobOutcome, ...]
    """In the order of the lines."""
    elapsed_seconds: float

    def count(self, state: str) -> int:
        """Return the number of jobs in this state."""
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def succeeded(self) -> bool:
        """Whether all videos exist or, in a dry run, can be made."""
        return not self.count(FAILED) and not self.count(NOT_REACHED)

    @property
    def frames(self) -> int:
        """Number of frames made in this run."""
        return sum(outcome.frames or 0 for outcome in self.outcomes if outcome.state == DONE)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, for `--json` and `--report`."""
        return {
            "folder": str(self.folder),
            **{state.replace(" ", "_"): self.count(state) for state in (DONE, EXISTING, FAILED, PLANNED, NOT_REACHED)},
            "frames": self.frames,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "speed_fps": round(self.frames / max(self.elapsed_seconds, 1e-9), 2),
            "version": __version__,
            "jobs": [outcome.as_json() for outcome in self.outcomes],
        }

    def __str__(self) -> str:
        width = max((len(outcome.id) for outcome in self.outcomes), default=0)
        rows = [_format_row(outcome, min(width, 40)) for outcome in self.outcomes]
        counts = [f"{self.count(state)} {label}" for state, label in _STATE_LABELS.items() if self.count(state)]
        if self.frames:
            seconds = self.elapsed_seconds
            counts.append(f"{self.frames} frames in {seconds:.1f} s ({self.frames / seconds:.3g} frames/s)")
        return "\n".join([*rows, f"{', '.join(counts)}; videos in {self.folder}"])


def _format_row(outcome: JobOutcome, width: int) -> str:
    frames, seconds = outcome.frames, outcome.elapsed_seconds
    numbers = f"{frames:6d} frames {seconds:8.1f} s {frames / seconds:6.3g} frames/s" if frames and seconds else ""
    return f"{outcome.state:8}  {outcome.id:{width}}  {numbers:36}  {outcome.reason or one_line(str(outcome.out))}"


class BatchInterrupted(KeyboardInterrupt):
    """Ctrl-C during a batch; finished videos are kept and listed in `report`."""

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
    run: Runner = run_sequentially,
    on_progress: OnProgress | None = None,
) -> BatchReport:
    """Make the videos of a jobs file, except those that an earlier run has finished.

    Args:
        jobs: see `read_jobs`.
        folder: of the videos and the journal; created where missing.
        overwrite: replace files that no earlier run has made for the same job.
        retry_failed: also retry jobs that failed because of their inputs or options.
        limit: take the first `limit` jobs of the file only.
        dry_run: validate every line and read the journal, but write nothing.
        run: see `Runner`.
        on_progress: called with the stage `videos` after each job, and with the stages of the current job.

    Raises:
        TalkerError: the jobs file or the folder cannot be used. Failures of single jobs are in the report instead.
        BatchInterrupted: Ctrl-C.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"--limit {limit} is out of range: give 1 or more.")
    start = time.monotonic()
    lines = read_jobs(jobs, folder, overwrite=overwrite)[:limit]
    valid = [line for line in lines if isinstance(line, RenderJob)]
    outcomes = {line.line: line for line in lines if isinstance(line, JobOutcome)}
    path = folder / JOURNAL
    try:
        with nullcontext() if dry_run or not valid else Journal(path, _is_entry) as journal:
            entries = read_entries(path, _is_entry) if journal is None else journal.entries
            outcomes |= _decided_outcomes(valid, entries, retry_failed)
            pending = _group_by_networks([job for job in valid if job.line not in outcomes])
            if journal is None:
                outcomes |= {job.line: job.outcome(PLANNED) for job in pending}
            else:
                _remove_partial_videos(valid, entries)
                _run_jobs(pending, outcomes, journal, run, on_progress or ignore_progress)
    except KeyboardInterrupt:
        raise BatchInterrupted(_make_report(folder, valid, outcomes, start)) from None
    return _make_report(folder, valid, outcomes, start)


def _run_jobs(
    jobs: Sequence[RenderJob], outcomes: dict[int, JobOutcome], journal: Journal, run: Runner, on_progress: OnProgress
) -> None:
    """Run the jobs; store each outcome in the journal and in `outcomes`."""
    on_progress("videos", 0, len(jobs))
    for done, outcome in enumerate(run(_record_starts(jobs, journal), on_progress), 1):
        if outcome.state == DONE:
            fields = {name: getattr(outcome, name) for name in _JOURNAL_FIELDS}
            journal.add(outcome.key, {"status": status.DONE, "out": _real_path(outcome.out), **fields})
        else:
            kind = status.LATER if outcome.again else status.FAILED
            journal.add(outcome.key, {"status": kind, "reason": outcome.reason})
            log.info("%s failed; the report at the end gives the reason.", outcome.id)
        outcomes[outcome.line] = outcome
        on_progress("videos", done, len(jobs))


def _record_starts(jobs: Iterable[RenderJob], journal: Journal) -> Iterator[RenderJob]:
    """Yield the jobs, each after its entry in the journal.

    The process may be killed between the completion of a video and its final entry. Videos are renamed when complete,
    so if no file of that name existed before (`fresh`), one that exists later is the complete video.
    """
    owners = {entry.get("out"): key for key, entry in journal.entries.items() if _owns_output(entry)}
    for job in jobs:
        out = _real_path(job.out)
        if (owner := owners.get(out, job.key)) != job.key:
            journal.add(owner, {"status": status.LATER, "reason": "another job has taken its name"})
        fresh = not job.out.exists()
        journal.add(job.key, {"status": status.LATER, "reason": "it was stopped", "out": out, "fresh": fresh})
        yield dataclasses.replace(job, fresh=fresh)


def _decided_outcomes(
    jobs: Sequence[RenderJob], entries: Mapping[str, Entry], retry_failed: bool
) -> dict[int, JobOutcome]:
    """Return line → outcome of the jobs that are finished or cannot be started."""
    from ..media import check_output

    inputs = {_real_path(path) for job in jobs for path in job.inputs}
    outcomes = {}
    for job in jobs:
        entry = entries.get(job.key, {})
        if _owns_output(entry) and job.out.is_file():
            fields: dict[str, Any] = {name: entry.get(name) for name in _JOURNAL_FIELDS}
            outcomes[job.line] = job.outcome(EXISTING, **fields)
            continue
        if entry.get("status") == status.FAILED and not retry_failed:
            reason = f"{str(entry.get('reason')).rstrip('.')} (in an earlier run; retry it with --retry-failed)"
            outcomes[job.line] = job.outcome(FAILED, reason)
            continue
        try:
            if _real_path(job.out) in inputs:
                raise MediaError(f"{job.out} is an input of one of the jobs and would be lost; choose another out")
            folder = job.out.parent
            while job.own_folder and not os.path.lexists(folder):
                folder = folder.parent
            check_output(folder / job.out.name, job.overwrite, transparent=job.options.is_transparent)
        except MediaError as error:
            outcomes[job.line] = job.outcome(FAILED, str(error), again=True)
    return outcomes


def _is_entry(entry: Entry) -> bool:
    """Return whether the fields of a journal's entry have the types that are read."""
    numbers = [entry.get(name) for name in ("frames", "video_seconds", "elapsed_seconds")]
    return (
        all(isinstance(entry.get(name), str | None) for name in ("out", "reason", "renderer"))
        and isinstance(entry.get("frames"), int | None)
        and all(number is None or (isinstance(number, int | float) and 0 <= number < 1e9) for number in numbers)
    )


def _owns_output(entry: Entry) -> bool:
    """Return whether the output file of an entry is the video of its job."""
    return entry.get("status") == status.DONE or entry.get("fresh") is True


def _group_by_networks(jobs: Sequence[RenderJob]) -> list[RenderJob]:
    """Sort jobs, stably, so that those with the same networks are adjacent: only one set is kept in memory."""
    sets = list(dict.fromkeys(_networks(job) for job in jobs))
    return sorted(jobs, key=lambda job: sets.index(_networks(job)))


def _networks(job: RenderJob) -> tuple[str, str, str]:
    return job.options.device, job.options.precision, job.options.compile


def _remove_partial_videos(jobs: Iterable[RenderJob], entries: Mapping[str, Entry]) -> None:
    """Remove the temporary files that `VideoWriter` left for these jobs when a run was killed."""
    for job in jobs:
        if job.own_folder and "fresh" in entries.get(job.key, {}):
            suffix = job.out.suffix.lower() if job.options.is_transparent else ".mp4"
            pattern = f".{glob.escape(job.out.stem[:40])}.{'[0-9a-f]' * 8}.part{suffix}"
            for part in job.out.parent.glob(pattern):
                with contextlib.suppress(OSError):
                    part.unlink()


def _make_report(
    folder: Path, jobs: Iterable[RenderJob], outcomes: Mapping[int, JobOutcome], start: float
) -> BatchReport:
    by_line = {job.line: job.outcome(NOT_REACHED) for job in jobs} | dict(outcomes)
    return BatchReport(folder, tuple(by_line[line] for line in sorted(by_line)), time.monotonic() - start)


def _real_path(path: Path | None) -> str:
    return "" if path is None else os.path.realpath(path)
