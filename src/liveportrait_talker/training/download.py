"""Downloading the videos of a VoxCeleb metadata tree and cutting their utterances; resumable at any moment.

<dataset>/clips/<speaker>/<youtube id>/<utterance>.mp4
<dataset>/download.journal     finished videos; written by the parent process only
<dataset>/download.jsonl       one line per utterance, sorted, written at the end of a complete run
<dataset>/.work/               temporary files; emptied at each start
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ..errors import EndedEarly, MediaError, OptionError
from ..options.fields import check_values, option
from ..progress import OnProgress, ignore_progress, steps_of
from ..system.journal import DONE, FAILED, LATER, Entry, Journal, read_entries, write_sorted
from ..system.links import refuse_links_out
from ..system.partial_files import write_error
from ..weights.store import offline
from .fetch import Cancelled, FetchError, FetchPolicy, fetch
from .metadata import FPS, VideoFolder, find_videos, read_utterance, split_of
from .options import limit, retry_failed, val_share
from .video_jobs import (
    CANCELLED,
    FATAL,
    DatasetReport,
    VideoOutcome,
    is_entry,
    list_some,
    record_outcomes,
    summarise,
    utterance_entry,
)

log = logging.getLogger(__name__)

_cancelled_runs: set[str] = set()  # runs of this process that ended early
# Rough values for the estimate: talk shows at 720 lines, and clips of them at CRF 19 with sound.
_DOWNLOAD_BYTES_PER_SECOND, _CLIP_BYTES_PER_SECOND = 200_000, 400_000
_TAIL_SECONDS = 60.0  # of a video after its last utterance


@dataclass(frozen=True)
class DownloadOptions:
    """Options of a download. Raises OptionError for values out of range."""

    policy: FetchPolicy = field(default_factory=FetchPolicy)
    """Source and rate of the downloads; its rate limit is that of all downloads together."""
    parallel: int = option(2, "simultaneous downloads", "run", low=1, high=16)
    limit: int | None = limit()
    dry_run: bool = option(False, "count and estimate, but download nothing", "run")
    retry_failed: bool = retry_failed()
    seed: int = option(0, "seed of the split into train and val speakers", "speakers", low=0, high=2**32)
    val_share: float = val_share()

    def __post_init__(self) -> None:
        check_values(self)


@dataclass(frozen=True)
class DownloadJob:
    """One source video to download, with the utterances to cut from it."""

    key: str
    """`speaker/video`."""
    video: str
    texts: tuple[Path, ...]
    """Text files of the utterances."""
    dataset: Path
    policy: FetchPolicy
    run: str = ""
    """Identifies the run, so that its jobs can be cancelled."""

    @property
    def utterances(self) -> tuple[str, ...]:
        """Names of the utterances."""
        return tuple(text.stem for text in self.texts)


@dataclass(frozen=True)
class Estimate:
    """What a run would do; bytes are rough, as no server is queried."""

    videos: int
    utterances: int
    unreadable: int
    """Invalid text files."""
    hours: float
    """Length of all clips."""
    fetched_bytes: int
    kept_bytes: int
    fetching_hours: float | None
    """At the rate limit; None without one."""

    def __str__(self) -> str:
        hours = "" if self.fetching_hours is None else f", {self.fetching_hours:,.1f} hours at the rate limit"
        lines = [
            f"would fetch {self.videos:,} videos (about {self.fetched_bytes / 1e9:,.2f} GB{hours})",
            f"and cut {self.utterances:,} clips of {self.hours:,.2f} hours (about {self.kept_bytes / 1e9:,.2f} GB)",
        ]
        return "\n".join(lines + ([f"{self.unreadable:,} text files are invalid"] if self.unreadable else []))


@dataclass(frozen=True)
class DownloadReport(DatasetReport):
    """The state of a data set after a download, or the estimate of a dry run."""

    splits: dict[str, int]
    """Number of clips in train and val."""
    seconds: float
    """Length of all clips."""
    notes: tuple[str, ...]
    """Parts of the metadata that were skipped."""
    estimate: Estimate | None = None

    def __str__(self) -> str:
        if self.estimate is not None:
            lines = [str(self.estimate)]
        else:
            splits = "  clips: " + ", ".join(f"{count:,} {split}" for split, count in self.splits.items())
            lines = self.table(f"data set in {self.dataset}: {self.seconds / 3600:,.2f} hours of clips", splits)
        return "\n".join(lines + list_some([f"note: {note}" for note in self.notes], "notes"))


Runner = Callable[[Callable[[DownloadJob], VideoOutcome], Iterable[DownloadJob]], Iterable[VideoOutcome]]


def download(
    metadata_root: Path,
    dataset: Path,
    options: DownloadOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
    run: Runner | None = None,
) -> DownloadReport:
    """Download the videos of a metadata tree and cut their utterances into `dataset`; resume an earlier run.

    Finished utterances and, without `retry_failed`, permanent failures are skipped. An interrupted and resumed run
    produces the same files as an uninterrupted one.

    `run` maps `fetch_and_cut` over jobs and yields outcomes in any order; by default in threads. `on_progress` is
    called with source videos.

    Raises:
        EndedEarly: the disk is full or cannot be written; the error has the report.
        MediaError: there is no metadata, or another run uses the data set.
        OptionError: yt-dlp is not installed.
    """
    options, on_progress = options or DownloadOptions(), on_progress or ignore_progress
    notes: list[str] = []
    folders = list(islice(find_videos(metadata_root, notes), options.limit))
    if not folders:
        raise MediaError(
            f"{metadata_root} has no <speaker>/<youtube id>/<utterance>.txt: give the folder of the speakers' folders."
        )
    if options.dry_run:
        pending = _find_pending(folders, read_entries(dataset / "download.journal", is_entry), dataset, options)
        estimate = _estimate(pending, options, on_progress, notes)
        return DownloadReport(dataset, 0, {}, {}, {}, (), {}, 0.0, tuple(notes), estimate)
    if variable := offline():
        raise MediaError(f"{variable} forbids downloads: unset it.")
    if importlib.util.find_spec("yt_dlp") is None:
        raise OptionError("yt-dlp is not installed: pip install yt-dlp (it needs Python 3.11 or newer).")
    with Journal(dataset / "download.journal", is_entry) as journal:
        work = dataset / ".work"
        shutil.rmtree(work, ignore_errors=True)
        run_id, policy = secrets.token_hex(8), options.policy
        if policy.rate_limit is not None:
            policy = replace(policy, rate_limit=max(1.0, policy.rate_limit / options.parallel))
        pending = _find_pending(folders, journal.entries, dataset, options)
        clips = dataset / "clips"
        refuse_links_out((clips / folder.key / f"{texts[0].stem}.mp4" for folder, texts in pending), clips)
        jobs = [
            # Absolute paths, as a worker may run in another folder.
            DownloadJob(folder.key, folder.video, tuple(map(Path.absolute, texts)), dataset.absolute(), policy, run_id)
            for folder, texts in pending
        ]
        try:
            fatal = record_outcomes(
                (run or _run_in_threads(options.parallel, run_id))(fetch_and_cut, jobs),
                journal,
                lambda outcome: _merge_entry(journal.entries.get(outcome.key), outcome),
                len(folders) - len(jobs),
                steps_of("download", on_progress),
                len(folders),
            )
        finally:
            shutil.rmtree(work, ignore_errors=True)
        rows = _utterance_rows(journal.entries, options)
        done = [row for row in rows.values() if row["status"] == DONE]
        report = DownloadReport(
            dataset=dataset,
            worked_on=len(jobs),
            splits={split: sum(row["split"] == split for row in done) for split in ("train", "val")},
            seconds=sum(row["seconds"] for row in done),
            notes=tuple(notes),
            **summarise(journal.entries, rows, fatal),
        )
        if fatal:
            raise EndedEarly(fatal[1], report)
        write_sorted(dataset / "download.jsonl", rows)
        return report


def fetch_and_cut(job: DownloadJob) -> VideoOutcome:
    """Read a job's text files, download its video and cut its utterances. Returns errors in the outcome."""
    invalid: dict[str, Entry] = {}
    valid = {}
    for text in job.texts:
        try:
            valid[text.stem] = read_utterance(text)
        except MediaError as error:
            invalid[text.stem] = utterance_entry(f"wrong metadata: {error}", None)
    frames = {name: utterance.frames for name, utterance in valid.items()}

    def fail_all(status: str, reason: str) -> VideoOutcome:
        entries = {name: utterance_entry(reason, frames[name], status) for name in frames}
        return VideoOutcome(job.key, status, reason, entries | invalid)

    if not valid:
        return VideoOutcome(job.key, FAILED, "wrong metadata", invalid)
    work = job.dataset / ".work" / secrets.token_hex(8)
    clips = job.dataset / "clips" / job.key
    try:
        from .cut import Segment, cut_clips  # imports FFmpeg

        def is_cancelled() -> bool:
            return job.run in _cancelled_runs

        work.mkdir(parents=True)
        source = fetch(job.video, work, job.policy, is_cancelled=is_cancelled)
        clips.mkdir(parents=True, exist_ok=True)
        segments = [Segment(name, one.first, one.last, clips / f"{name}.mp4") for name, one in valid.items()]
        reasons = cut_clips(source.video, segments, work, sound=source.sound, is_cancelled=is_cancelled)
        entries = {name: utterance_entry(reasons[name], frames[name]) for name in frames}
        return VideoOutcome(job.key, DONE, None, entries | invalid)
    except FetchError as error:
        return fail_all(FAILED if error.permanent else LATER, error.reason)
    except Cancelled:
        return VideoOutcome(job.key, CANCELLED, None, {})
    except MediaError as error:
        return VideoOutcome(job.key, FATAL, str(error), {})
    except OSError as error:
        return VideoOutcome(job.key, FATAL, str(write_error(job.dataset, error)), {})
    except Exception as error:  # one unusual video must not end a run of days
        log.warning("%s: %s: %s", job.key, type(error).__name__, error)
        return fail_all(LATER, f"something went wrong: {type(error).__name__}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        with suppress(OSError):
            clips.rmdir()  # if it is empty


def _run_in_threads(parallel: int, run_id: str) -> Runner:
    """Return a runner with `parallel` threads that takes at most twice as many jobs at once."""

    def run(function: Callable[[DownloadJob], VideoOutcome], jobs: Iterable[DownloadJob]) -> Iterator[VideoOutcome]:
        remaining = iter(jobs)
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="download")
        try:
            running = {pool.submit(function, job) for job in islice(remaining, 2 * parallel)}
            while running:
                finished: set[Future[VideoOutcome]]
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(function, job) for job in islice(remaining, len(finished))}
                for future in finished:
                    yield future.result()
        finally:
            _cancelled_runs.add(run_id)
            pool.shutdown(wait=True, cancel_futures=True)
            _cancelled_runs.discard(run_id)

    return run


def _find_pending(
    folders: list[VideoFolder], entries: dict[str, Entry], dataset: Path, options: DownloadOptions
) -> list[tuple[VideoFolder, tuple[Path, ...]]]:
    """Return the videos that have utterances to process, and these utterances' text files."""

    def is_pending(folder: VideoFolder, name: str) -> bool:
        entry = entries.get(folder.key, {}).get("utterances", {}).get(name)
        if entry is None or entry["status"] == LATER:
            return True
        if entry["status"] == DONE:
            return not (dataset / "clips" / folder.key / f"{name}.mp4").is_file()
        return options.retry_failed

    candidates = [
        (folder, tuple(folder.text(name) for name in folder.utterances if is_pending(folder, name)))
        for folder in folders
    ]
    return [(folder, texts) for folder, texts in candidates if texts]


def _merge_entry(previous: Entry | None, outcome: VideoOutcome) -> Entry:
    """Return the journal's entry of a video; utterances that are not in the outcome stay as they were."""
    utterances = {**(previous or {}).get("utterances", {}), **outcome.utterances}
    any_done = any(each["status"] == DONE for each in utterances.values())
    status = DONE if any_done and outcome.status == FAILED else outcome.status
    reason = None if status == DONE else outcome.reason
    return {"status": status, "reason": reason, "utterances": utterances}


def _utterance_rows(entries: dict[str, Entry], options: DownloadOptions) -> dict[str, Entry]:
    """Return `speaker/video/utterance` → its row of download.jsonl."""
    rows = {}
    for key, entry in entries.items():
        split = split_of(key.partition("/")[0], options.seed, options.val_share)
        for name, each in entry.get("utterances", {}).items():
            seconds = None if each["frames"] is None else each["frames"] / FPS
            rows[f"{key}/{name}"] = {**each, "seconds": seconds, "split": split}
    return rows


def _estimate(
    pending: list[tuple[VideoFolder, tuple[Path, ...]]],
    options: DownloadOptions,
    on_progress: OnProgress,
    notes: list[str],
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
        on_progress("count", number, len(pending))
    fetched = round(source_seconds * _DOWNLOAD_BYTES_PER_SECOND)
    rate = options.policy.rate_limit
    return Estimate(
        videos=len(pending),
        utterances=utterances,
        unreadable=unreadable,
        hours=frames / FPS / 3600,
        fetched_bytes=fetched,
        kept_bytes=round(frames / FPS * _CLIP_BYTES_PER_SECOND),
        fetching_hours=None if rate is None else fetched / rate / 3600,
    )
