"""The work of one job: `RenderJob` → `render_job` → `JobOutcome`."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MediaError, TalkerError, WeightsError
from ..options.talk import TalkOptions
from ..progress import OnProgress, ignore_progress
from ..system.partial_files import is_full

if TYPE_CHECKING:
    from ..pipelines.talk import Talker

log = logging.getLogger(__name__)


DONE, HERE, FAILED, TO_DO, LEFT = "done", "was here", "failed", "to do", "left"
"""States of a job: made now; made by an earlier run; not made; what a dry run would make; not reached."""


@dataclass(frozen=True)
class RenderJob:
    """One video to make, checked as far as that is possible without decoding. Plain data: it may go to another process.

    All paths are absolute.
    """

    line: int
    """Of the jobs file, from 1."""
    id: str
    source: Path
    voice: Path
    out: Path
    own_folder: bool
    """`out` is in the batch's own folder, in which folders are made as needed."""
    options: TalkOptions
    overwrite: bool
    key: str
    """Digest of all that decides what the video shows: the inputs' paths, sizes and times, the options, `out`."""
    fresh: bool = False
    """Nobody had the name `out` when the job was handed out: a file that has it later is this job's own."""

    @property
    def inputs(self) -> list[Path]:
        """Every file that is read."""
        return [self.source, self.voice, *(value for value in vars(self.options).values() if isinstance(value, Path))]

    def outcome(self, state: str, reason: str = "", **more: Any) -> JobOutcome:
        """What became of this job."""
        return JobOutcome(
            self.line, self.id, state, one_line(reason), self.key, self.source, self.voice, self.out, **more
        )


@dataclass(frozen=True)
class JobOutcome:
    """What became of one line of a jobs file. Plain data, as `RenderJob`."""

    line: int
    id: str
    state: str
    """One of `done`, `was here`, `failed`, `to do`, `left`."""
    reason: str = ""
    """Why it is not done: one sentence."""
    key: str = ""
    """Its job's; empty for a line that is no job."""
    source: Path | None = None
    voice: Path | None = None
    out: Path | None = None
    again: bool = False
    """It failed by circumstances (a full disk, missing weights, our own mistake): the next run tries it again."""
    frames: int | None = None
    video_seconds: float | None = None
    elapsed_seconds: float | None = None
    """Of the run that made it."""
    renderer: str | None = None
    trace: str = ""
    """Python's traceback, where the failure is our mistake."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = dataclasses.asdict(self)
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


class Runner(Protocol):
    """Maps jobs to outcomes, in this process or elsewhere.

    `jobs` is written to the journal as it is iterated, so a runner draws from it in the thread that called it and asks
    for a job when it is about to hand it out. Outcomes may come in any order. `render_job` does the work of one job;
    whoever calls it keeps one `Talker` for all of its jobs.
    """

    def __call__(self, jobs: Iterable[RenderJob], tell: OnProgress) -> Iterator[JobOutcome]:
        """Yield the outcome of each job as soon as it is known."""
        ...


def in_order(jobs: Iterable[RenderJob], tell: OnProgress, *, talker: Talker | None = None) -> Iterator[JobOutcome]:
    """The runner that is used by default: one job after the other, in this process, by one `Talker`."""
    from ..pipelines.talk import Talker

    talker = talker or Talker()
    for job in jobs:
        log.info("%s: %s", job.id, job.out.name)
        yield render_job(job, talker, tell)


def render_job(job: RenderJob, talker: Talker, tell: OnProgress) -> JobOutcome:
    """Make one video. Whatever goes wrong is told by the outcome; only Ctrl-C is raised."""
    try:
        if job.own_folder:
            job.out.parent.mkdir(parents=True, exist_ok=True)
        report = talker.save(job.source, job.voice, job.out, job.options, overwrite=job.overwrite, on_progress=tell)
    except TalkerError as error:
        return job.outcome(FAILED, str(error), again=_may_pass(error, job))
    except Exception as error:
        reason = f"something went wrong that should not have ({type(error).__name__}: {error})"
        return job.outcome(FAILED, reason, again=True, trace=traceback.format_exc())
    return job.outcome(
        DONE,
        frames=report.frames,
        video_seconds=report.video_seconds,
        elapsed_seconds=report.elapsed_seconds,
        renderer=report.renderer,
    )


def _may_pass(error: TalkerError, job: RenderJob) -> bool:
    """Can the same job succeed in the next run? Not where its inputs or options are at fault: they are in its key."""
    from ..media import check_output

    cause = error.__cause__
    if isinstance(error, WeightsError) or (isinstance(cause, Exception) and is_full(cause)):
        return True
    try:
        check_output(job.out, job.overwrite)
    except MediaError:
        return True
    return False


def one_line(text: str) -> str:
    """For tables and terminals: not long, and without the line breaks and control characters of a jobs file."""
    plain = "".join(c if c.isprintable() else "�" for c in text)
    return plain if len(plain) <= 600 else f"{plain[:300]} … {plain[-300:]}"


@dataclass
class TalkerWorker:
    """What makes videos on a cluster: it keeps one `Talker` for all of its jobs."""

    talker: Talker | None = None

    def __call__(self, job: RenderJob) -> JobOutcome:
        """The outcome of a job."""
        from ..pipelines.talk import Talker

        self.talker = self.talker or Talker()
        if job.fresh:  # the worker before may have died between the video and its answer
            job = dataclasses.replace(job, overwrite=True)
        return render_job(job, self.talker, ignore_progress)


def lost(job: RenderJob, reason: str) -> JobOutcome:
    """The outcome of a job whose worker died each time it was tried."""
    return job.outcome(FAILED, reason, again=True)
