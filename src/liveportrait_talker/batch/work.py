"""Jobs of a batch, their outcomes, and rendering one of them."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MediaError, TalkerError, WeightsError
from ..options.fields import paths_in
from ..options.speakers import Speakers
from ..options.talk import TalkOptions
from ..pipelines.media_check import SMALL_MB, MediaChecks
from ..progress import OnProgress, ignore_progress
from ..system.partial_files import is_disk_full

if TYPE_CHECKING:
    from ..pipelines.talk import Talker

log = logging.getLogger(__name__)

DONE, EXISTING, FAILED, PLANNED, NOT_REACHED = "done", "was here", "failed", "to do", "left"
"""States of a job: made by this run; made by an earlier run; failed; to be made (dry run); not reached."""


@dataclass(frozen=True)
class RenderJob:
    """A video to make, validated without decoding. Picklable; all paths are absolute."""

    line: int
    """Line of the jobs file, from 1."""
    id: str
    source: Path
    voices: Path | Speakers
    """The voice, or face → voice."""
    out: Path
    own_folder: bool
    """`out` is in the batch's own folder, where subfolders are created as needed."""
    options: TalkOptions
    overwrite: bool
    key: str
    """SHA-256 of what determines the video: the inputs' paths, sizes and modification times, the options, `out`."""
    fresh: bool = False
    """`out` did not exist when the job was started: a file of that name was made by this job."""

    @property
    def inputs(self) -> list[Path]:
        """All input files."""
        named = (path for value in vars(self.options).values() for path in paths_in(value))
        return [self.source, *self.voice_files, *named]

    @property
    def voice_files(self) -> list[Path]:
        """Files with sound."""
        return [self.voices] if isinstance(self.voices, Path) else [voice.file for voice in self.voices.values()]

    def outcome(self, state: str, reason: str = "", **more: Any) -> JobOutcome:
        """Return the outcome of this job."""
        return JobOutcome(
            self.line, self.id, state, one_line(reason), self.key, self.source, self.voice_files[0], self.out, **more
        )


@dataclass(frozen=True)
class JobOutcome:
    """The outcome of one line of a jobs file. Picklable."""

    line: int
    id: str
    state: str
    """`done`, `was here`, `failed`, `to do` or `left`."""
    reason: str = ""
    """Why it failed: one sentence."""
    key: str = ""
    """The job's; empty for an invalid line."""
    source: Path | None = None
    voice: Path | None = None
    """Of several the first."""
    out: Path | None = None
    again: bool = False
    """The failure may be temporary (a full disk, missing weights, an internal error): the next run retries it."""
    frames: int | None = None
    video_seconds: float | None = None
    elapsed_seconds: float | None = None
    """Time that the video took."""
    renderer: str | None = None
    trace: str = ""
    """The traceback of an internal error."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        plain = dataclasses.asdict(self)
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


class Runner(Protocol):
    """Maps jobs to outcomes, in this process or others.

    Iterating over `jobs` writes to the journal, so a runner iterates in the thread that called it and takes a job when
    it is about to start it. Outcomes may come in any order. Each process should use one `Talker` for all of its jobs.
    """

    def __call__(self, jobs: Iterable[RenderJob], on_progress: OnProgress) -> Iterator[JobOutcome]:
        """Yield the outcome of each job as soon as it is known."""
        ...


def run_sequentially(jobs: Iterable[RenderJob], on_progress: OnProgress) -> Iterator[JobOutcome]:
    """Run one job after the other in this process (the default runner)."""
    from ..pipelines.talk import Talker

    talker = Talker()
    with MediaChecks() as checks:
        for job in jobs:
            log.info("%s: %s", job.id, job.out.name)
            yield render_job(job, talker, checks, on_progress)


def render_job(job: RenderJob, talker: Talker, checks: MediaChecks, on_progress: OnProgress) -> JobOutcome:
    """Make one video. Returns errors as a failed outcome; only KeyboardInterrupt propagates."""
    try:
        if job.own_folder:
            job.out.parent.mkdir(parents=True, exist_ok=True)
        references = (job.options.ref_head_pose, job.options.ref_blink)
        checks.check(job.options, sources=(job.source, *references), voices=job.voice_files, max_mb=SMALL_MB)
        report = talker.save(
            job.source, job.voices, job.out, job.options, overwrite=job.overwrite, on_progress=on_progress
        )
    except TalkerError as error:
        return job.outcome(FAILED, str(error), again=_is_temporary(error, job))
    except Exception as error:
        reason = f"internal error ({type(error).__name__}: {error})"
        return job.outcome(FAILED, reason, again=True, trace=traceback.format_exc())
    return job.outcome(
        DONE,
        frames=report.frames,
        video_seconds=report.video_seconds,
        elapsed_seconds=report.elapsed_seconds,
        renderer=report.renderer,
    )


def _is_temporary(error: TalkerError, job: RenderJob) -> bool:
    """Return whether the same job may succeed later: not if its inputs or options, which its key covers, are wrong."""
    from ..media import check_output

    cause = error.__cause__
    if isinstance(error, WeightsError) or (isinstance(cause, Exception) and is_disk_full(cause)):
        return True
    try:
        check_output(job.out, job.overwrite, transparent=job.options.is_transparent)
    except MediaError:
        return True
    return False


def one_line(text: str) -> str:
    """Return text for tables and terminals: shortened, with control characters and line breaks replaced."""
    plain = "".join(c if c.isprintable() else "�" for c in text)
    return plain if len(plain) <= 600 else f"{plain[:300]} … {plain[-300:]}"


@dataclass
class TalkerWorker:
    """A cluster worker, with one `Talker` for all of its jobs."""

    talker: Talker | None = None
    checks: MediaChecks | None = None

    def __call__(self, job: RenderJob) -> JobOutcome:
        """Render a job."""
        from ..pipelines.talk import Talker

        self.talker, self.checks = self.talker or Talker(), self.checks or MediaChecks()
        if job.fresh:  # a worker that died may have finished the video
            job = dataclasses.replace(job, overwrite=True)
        return render_job(job, self.talker, self.checks, ignore_progress)


def worker_died(job: RenderJob, reason: str) -> JobOutcome:
    """Return the outcome of a job whose worker died in every attempt."""
    return job.outcome(FAILED, reason, again=True)
