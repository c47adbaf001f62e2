"""The metadata tree → fetched videos → clips: one unit of work a source video, resumable at any moment.

<dataset>/clips/<speaker>/<youtube id>/<utterance>.mp4
<dataset>/download.journal     what is finished; written by the parent process alone
<dataset>/download.jsonl       one line an utterance, sorted, written when the run is through
<dataset>/.work/               what is being fetched and cut; emptied at each start
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import EndedEarly, MediaError, OptionError
from ..progress import OnProgress, ignore_progress
from ..system.journal import DONE, FAILED, LATER, Entry, Journal, read_entries, write_sorted
from ..weights.store import offline
from .fetch import FetchError, FetchPolicy, Stopped, fetch
from .metadata import FPS, VideoFolder, read_utterance, split_of, walk

log = logging.getLogger(__name__)


_NAMED = 20  # failures that the report names
_FATAL, _STOPPED = "fatal", "stopped"  # of outcomes that the journal never sees
_abandoned: set[str] = set()  # runs of this process that have ended early
# Rough, for the estimate only: talk shows at 720 lines, and clips of them at CRF 19 with sound.
_FETCHED_BYTES_PER_SECOND, _KEPT_BYTES_PER_SECOND = 200_000, 400_000
_TAIL_SECONDS = 60.0  # of a video after its last utterance


@dataclass(frozen=True)
class DownloadOptions:
    """How a data set is downloaded. Raises OptionError for values that make no sense."""

    policy: FetchPolicy = field(default_factory=FetchPolicy)
    """Where from, and how gently; its rate limit is that of all downloads together."""
    parallel: int = 2
    """Videos at a time, 1…16."""
    limit: int | None = None
    """Only the first so many source videos of the sorted tree; None for all."""
    dry_run: bool = False
    """Count and estimate; fetch and write nothing."""
    retry_failed: bool = False
    """Try again what failed for good, too."""
    seed: int = 0
    """Of the split into train and val, 0…2³²."""
    val_share: float = 0.05
    """Share of the speakers that is kept for validation, 0…0.9."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--parallel", self.parallel, 1, 16),
            ("--limit", 1 if self.limit is None else self.limit, 1, 10**9),
            ("--seed", self.seed, 0, 2**32),
            ("--val-share", self.val_share, 0, 0.9),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name} {value:g} is out of range: give {low:g} … {high:g}.")


@dataclass(frozen=True)
class Job:
    """One source video to fetch, with the utterances to cut from it."""

    key: str
    """`speaker/video`."""
    video: str
    texts: tuple[Path, ...]
    """Text files of the utterances, each in its place in the metadata tree."""
    dataset: Path
    policy: FetchPolicy
    run: str = ""
    """Names the run, so that it can be given up."""


@dataclass(frozen=True)
class VideoOutcome:
    """What became of a job."""

    key: str
    status: str
    """`done` (fetched, though some utterances may have failed), `failed`, `later`; `fatal` ends the run."""
    reason: str | None
    utterances: dict[str, Entry]
    """Name → status, reason (None when done), frames (None where the text file is wrong)."""


@dataclass(frozen=True)
class Estimate:
    """What a run would do; the bytes are rough, since nobody is asked."""

    videos: int
    utterances: int
    unreadable: int
    """Text files that are wrong."""
    hours: float
    """Length of all clips."""
    fetched_bytes: int
    kept_bytes: int
    fetching_hours: float | None
    """At the rate limit; None without one."""


@dataclass(frozen=True)
class DownloadReport:
    """The state of a data set after a run (or what a dry run found out). Its text is a table."""

    dataset: Path
    worked_on: int
    """Source videos that this run fetched or tried to."""
    videos: dict[str, int]
    """Number of source videos by status."""
    utterances: dict[str, int]
    """Number of utterances by status."""
    reasons: dict[str, int]
    """Number of utterances without a clip by reason."""
    splits: dict[str, int]
    """Number of clips in train and val."""
    seconds: float
    """Length of all clips."""
    failures: tuple[tuple[str, str], ...]
    """`speaker/video/utterance` and reason of each utterance without a clip, sorted."""
    notes: tuple[str, ...]
    """What was passed over in the metadata."""
    estimate: Estimate | None = None

    def __str__(self) -> str:
        if (plan := self.estimate) is not None:
            hours = "" if plan.fetching_hours is None else f", {plan.fetching_hours:,.1f} hours at the rate limit"
            lines = [
                f"would fetch {plan.videos:,} videos (about {plan.fetched_bytes / 1e9:,.2f} GB{hours})",
                f"and cut {plan.utterances:,} clips of {plan.hours:,.2f} hours (about {plan.kept_bytes / 1e9:,.2f} GB)",
            ]
            lines += [f"{plan.unreadable:,} text files are wrong"] if plan.unreadable else []
        else:
            lines = [
                f"data set in {self.dataset}: {self.seconds / 3600:,.2f} hours of clips; "
                f"this run worked on {self.worked_on:,} videos",
                "              videos  utterances",
            ]
            for status in (DONE, FAILED, LATER):
                lines.append(f"  {status:10}{self.videos.get(status, 0):>8,}{self.utterances.get(status, 0):>12,}")
            lines.append("  clips: " + ", ".join(f"{count:,} {split}" for split, count in self.splits.items()))
            lines += [f"  {count:>8,}  {reason}" for reason, count in self.reasons.items()]
            lines += [f"  {key}: {reason}" for key, reason in self.failures[:_NAMED]]
            if len(self.failures) > _NAMED:
                lines.append(f"  … and {len(self.failures) - _NAMED:,} more")
        lines += [f"  note: {note}" for note in self.notes[:_NAMED]]
        if len(self.notes) > _NAMED:
            lines.append(f"  … and {len(self.notes) - _NAMED:,} notes more")
        return "\n".join(lines)


Runner = Callable[[Callable[[Job], VideoOutcome], Iterable[Job]], Iterator[VideoOutcome]]


def download(
    metadata_root: Path,
    dataset: Path,
    options: DownloadOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
    run: Runner | None = None,
) -> DownloadReport:
    """Fetch the videos of a metadata tree and cut their utterances into `dataset`; go on where an earlier run stopped.

    What is done is skipped, what failed for good too unless `retry_failed`; what failed by circumstances is tried
    again. A run that was interrupted and gone on with ends with the same files as one that was left in peace. `run`
    maps `fetch_and_cut` over jobs and gives their outcomes in any order; threads by default. `on_progress(stage,
    done, total)` counts source videos.

    Raises:
        EndedEarly: the disk is full or cannot be written; the error has the report of what was done.
        MediaError: there is no metadata, or another run has the data set.
        OptionError: yt-dlp is not installed.
    """
    options = options or DownloadOptions()
    notes: list[str] = []
    folders = list(islice(walk(metadata_root, notes), options.limit))
    if not folders:
        raise MediaError(
            f"{metadata_root} has no <speaker>/<youtube id>/<utterance>.txt: give the folder of the speakers' folders."
        )
    tell = on_progress or ignore_progress
    if options.dry_run:
        plan = _estimate(
            _pending(folders, read_entries(dataset / "download.journal"), dataset, options), options, tell, notes
        )
        return DownloadReport(dataset, 0, {}, {}, {}, {}, 0.0, (), tuple(notes), plan)
    if variable := offline():
        raise MediaError(f"{variable} forbids the network: unset it to download.")
    if importlib.util.find_spec("yt_dlp") is None:
        raise OptionError("yt-dlp is not installed: pip install yt-dlp (it needs Python 3.11 or newer).")
    with Journal(dataset / "download.journal") as journal:
        work = dataset / ".work"
        shutil.rmtree(work, ignore_errors=True)
        name = secrets.token_hex(8)
        policy = options.policy
        if policy.rate_limit is not None:
            policy = replace(policy, rate_limit=max(1.0, policy.rate_limit / options.parallel))
        jobs = [
            # Absolute: a worker may run in another folder.
            Job(folder.key, folder.video, tuple(map(Path.absolute, texts)), dataset.absolute(), policy, name)
            for folder, texts in _pending(folders, journal.entries, dataset, options)
        ]
        done, total = len(folders) - len(jobs), len(folders)
        tell("download", done, total)
        outcomes = (run or _threads(options.parallel, name))(fetch_and_cut, jobs)
        ended = None
        try:
            for outcome in outcomes:
                if outcome.status == _FATAL:
                    ended = (outcome.key, outcome.reason or "the run cannot go on.")
                    break
                if outcome.status != _STOPPED:
                    journal.add(outcome.key, _merged(journal.entries.get(outcome.key), outcome))
                    done += 1
                    tell("download", done, total)
        finally:
            if isinstance(outcomes, Iterator) and hasattr(outcomes, "close"):
                outcomes.close()  # now, not when somebody collects it: its threads must end before the lock is let go
            shutil.rmtree(work, ignore_errors=True)
        rows = _rows(journal.entries, options)
        report = _report(dataset, len(jobs), journal.entries, rows, notes, ended)
        if ended:
            raise EndedEarly(ended[1], report)
        write_sorted(dataset / "download.jsonl", rows)
        return report


def fetch_and_cut(job: Job) -> VideoOutcome:
    """Do one job: read its text files, fetch its video, cut its utterances. Whatever goes wrong is in the outcome."""
    wrong: dict[str, Entry] = {}
    right = {}
    for text in job.texts:
        try:
            right[text.stem] = read_utterance(text)
        except MediaError as error:
            wrong[text.stem] = _utterance(f"wrong metadata: {error}", None)
    frames = {name: utterance.frames for name, utterance in right.items()}

    def all_of(status: str, reason: str) -> VideoOutcome:
        left = {name: _utterance(reason, frames[name], status) for name in frames}
        return VideoOutcome(job.key, status, reason, left | wrong)

    if not right:
        return VideoOutcome(job.key, FAILED, "wrong metadata", wrong)
    work = job.dataset / ".work" / secrets.token_hex(8)
    clips = job.dataset / "clips" / job.key
    try:
        from .cut import Piece, cut  # brings FFmpeg along

        def stopped() -> bool:
            return job.run in _abandoned

        work.mkdir(parents=True)
        source = fetch(job.video, work, job.policy, stopped=stopped)
        clips.mkdir(parents=True, exist_ok=True)
        pieces = [Piece(name, one.first, one.last, clips / f"{name}.mp4") for name, one in right.items()]
        reasons = cut(source.video, pieces, work, sound=source.sound, stopped=stopped)
        entries = {name: _utterance(reasons[name], frames[name]) for name in frames}
        return VideoOutcome(job.key, DONE, None, entries | wrong)
    except FetchError as error:
        return all_of(FAILED if error.permanent else LATER, error.reason)
    except Stopped:
        return VideoOutcome(job.key, _STOPPED, None, {})
    except MediaError as error:
        return VideoOutcome(job.key, _FATAL, str(error), {})
    except OSError as error:
        return VideoOutcome(job.key, _FATAL, f"{job.dataset} cannot be written ({error.strerror}).", {})
    except Exception as error:  # one odd video must not end a run of days
        log.warning("%s: %s: %s", job.key, type(error).__name__, error)
        return all_of(LATER, f"something went wrong: {type(error).__name__}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):
            clips.rmdir()  # where it is empty


def lost(job: Job, reason: str) -> VideoOutcome:
    """The outcome of a job whose worker died each time it was tried."""
    return VideoOutcome(job.key, LATER, reason, {text.stem: _utterance(reason, None, LATER) for text in job.texts})


def _utterance(reason: str | None, frames: int | None, status: str | None = None) -> Entry:
    return {"status": status or (DONE if reason is None else FAILED), "reason": reason, "frames": frames}


def _threads(parallel: int, name: str) -> Runner:
    """The runner for one machine: so many threads, and never more than twice as many jobs in hand."""

    def run(function: Callable[[Job], VideoOutcome], jobs: Iterable[Job]) -> Iterator[VideoOutcome]:
        left = iter(jobs)
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="download")
        try:
            waiting = {pool.submit(function, job) for job in islice(left, 2 * parallel)}
            while waiting:
                finished: set[Future[VideoOutcome]]
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= {pool.submit(function, job) for job in islice(left, len(finished))}
                for future in finished:
                    yield future.result()
        finally:
            _abandoned.add(name)
            pool.shutdown(wait=True, cancel_futures=True)
            _abandoned.discard(name)

    return run


def _pending(
    folders: list[VideoFolder], entries: dict[str, Entry], dataset: Path, options: DownloadOptions
) -> list[tuple[VideoFolder, tuple[Path, ...]]]:
    """Videos with something left to do, and the text files of it."""

    def is_left(folder: VideoFolder, name: str) -> bool:
        entry = entries.get(folder.key, {}).get("utterances", {}).get(name)
        if entry is None or entry["status"] == LATER:
            return True
        if entry["status"] == DONE:
            return not (dataset / "clips" / folder.key / f"{name}.mp4").is_file()
        return options.retry_failed

    chosen = [
        (folder, tuple(folder.text(name) for name in folder.utterances if is_left(folder, name))) for folder in folders
    ]
    return [(folder, texts) for folder, texts in chosen if texts]


def _merged(before: Entry | None, outcome: VideoOutcome) -> Entry:
    """The journal's entry of a video: utterances that this job did not touch stay as they were."""
    utterances = {**(before or {}).get("utterances", {}), **outcome.utterances}
    kept = any(each["status"] == DONE for each in utterances.values())
    status = DONE if kept and outcome.status == FAILED else outcome.status
    reason = None if status == DONE else outcome.reason
    return {"status": status, "reason": reason, "utterances": utterances}


def _rows(entries: dict[str, Entry], options: DownloadOptions) -> dict[str, Entry]:
    """`speaker/video/utterance` → its line of the list."""
    rows = {}
    for key, entry in entries.items():
        split = split_of(key.partition("/")[0], options.seed, options.val_share)
        for name, each in entry.get("utterances", {}).items():
            seconds = None if each["frames"] is None else each["frames"] / FPS
            rows[f"{key}/{name}"] = {**each, "seconds": seconds, "split": split}
    return rows


def _report(
    dataset: Path,
    worked_on: int,
    entries: dict[str, Entry],
    rows: dict[str, Entry],
    notes: list[str],
    ended: tuple[str, str] | None,
) -> DownloadReport:
    clips = [row for row in rows.values() if row["status"] == DONE]
    failures = tuple((key, str(row["reason"])) for key, row in sorted(rows.items()) if row["status"] != DONE)
    if ended:
        failures = ((ended[0], ended[1].partition(";")[0]), *failures)
    # A reason may bring details after a colon; the kind is what is counted.
    reasons = Counter(reason.partition(":")[0] for _, reason in failures)
    return DownloadReport(
        dataset=dataset,
        worked_on=worked_on,
        videos=_counted(entry["status"] for entry in entries.values()),
        utterances=_counted(row["status"] for row in rows.values()),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        splits={split: sum(row["split"] == split for row in clips) for split in ("train", "val")},
        seconds=sum(row["seconds"] for row in clips),
        failures=failures,
        notes=tuple(notes),
    )


def _counted(statuses: Iterable[Any]) -> dict[str, int]:
    return dict(sorted(Counter(statuses).items()))


def _estimate(
    pending: list[tuple[VideoFolder, tuple[Path, ...]]], options: DownloadOptions, tell: OnProgress, notes: list[str]
) -> Estimate:
    utterances = unreadable = frames = 0
    source_seconds = 0.0
    for number, (_, texts) in enumerate(pending, 1):
        end = 0.0
        for text in texts:
            try:
                one = read_utterance(text)
            except MediaError as error:
                unreadable += 1
                notes.append(str(error))
                continue
            utterances += 1
            frames += one.frames
            end = max(end, one.end_seconds)
        source_seconds += end + _TAIL_SECONDS if end else 0
        tell("count", number, len(pending))
    fetched = round(source_seconds * _FETCHED_BYTES_PER_SECOND)
    rate = options.policy.rate_limit
    return Estimate(
        videos=len(pending),
        utterances=utterances,
        unreadable=unreadable,
        hours=frames / FPS / 3600,
        fetched_bytes=fetched,
        kept_bytes=round(frames / FPS * _KEPT_BYTES_PER_SECOND),
        fetching_hours=None if rate is None else fetched / rate / 3600,
    )
