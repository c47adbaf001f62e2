"""The clips of a data set → one record a source video, resumable at any moment.

<dataset>/clips/<speaker>/<youtube id>/<utterance>.mp4       what is looked at
<dataset>/records/<speaker>/<youtube id>.safetensors         what is made of it (see `records`)
<dataset>/extract.journal, extract.jsonl                     what is finished; the sorted list of utterances
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import EndedEarly, MediaError
from ..progress import OnProgress, ignore_progress
from ..system.journal import DONE, FAILED, LATER, Entry, Journal, write_sorted
from .extractor import FATAL, ExtractJob, Extractor, ExtractOutcome
from .faces import Clip
from .options import ExtractOptions
from .records import Stamp, stale

log = logging.getLogger(__name__)

Runner = Callable[[Callable[[ExtractJob], ExtractOutcome], Iterable[ExtractJob]], Iterator[ExtractOutcome]]

_NAMED = 20


@dataclass(frozen=True)
class ExtractReport:
    """The state of a data set after a run. Its text is a table."""

    dataset: Path
    worked_on: int
    """Source videos of this run."""
    videos: dict[str, int]
    utterances: dict[str, int]
    frames: int
    """Frames in all records."""
    reasons: dict[str, int]
    """Number of utterances that are not in a record, by reason."""
    failures: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [
            f"records in {self.dataset / 'records'}: {self.frames:,} frames; "
            f"this run worked on {self.worked_on:,} videos",
            "              videos  utterances",
        ]
        for status in (DONE, FAILED, LATER):
            lines.append(f"  {status:10}{self.videos.get(status, 0):>8,}{self.utterances.get(status, 0):>12,}")
        lines += [f"  {count:>8,}  {reason}" for reason, count in self.reasons.items()]
        lines += [f"  {key}: {reason}" for key, reason in self.failures[:_NAMED]]
        if len(self.failures) > _NAMED:
            lines.append(f"  … and {len(self.failures) - _NAMED:,} more")
        return "\n".join(lines)


def extract(
    dataset: Path,
    metadata: Path | None = None,
    options: ExtractOptions | None = None,
    *,
    weights: tuple[tuple[str, str], ...] = (),
    on_progress: OnProgress | None = None,
    run: Runner | None = None,
) -> ExtractReport:
    """Extract the 3DMM coefficients and LivePortrait's key points of every clip; go on where an earlier run stopped.

    Args:
        dataset: the folder that `download` made, or any with clips/<speaker>/<video>/<utterance>.mp4.
        metadata: the tree of text files, whose boxes say where the face is; without, the largest face is taken.
        options: see ExtractOptions.
        weights: network → checkpoint file, in place of those that are installed.
        on_progress: called as (stage, videos done, videos in all).
        run: maps the extractor over jobs and gives outcomes in any order; one after the other by default.

    Raises:
        EndedEarly: the disk is full or cannot be written; the error has the report of what was done.
        MediaError: there are no clips, another run has the data set, or a record is of other extractors.
        WeightsError: the networks are not installed.
    """
    options = options or ExtractOptions()
    extractor = Extractor(options.device, options.batch_size, options.decoders, weights)
    stamp = extractor.stamp
    folders = _videos(dataset)[: options.limit]
    tell = on_progress or ignore_progress
    with Journal(dataset / "extract.journal") as journal:
        if not options.redo:
            _refuse_stale([_record(dataset, folder) for folder in folders], stamp)
        jobs = [
            ExtractJob(_key(folder), clips, _record(dataset, folder).absolute())
            for folder in folders
            if (clips := _left(folder, metadata, journal.entries.get(_key(folder)), dataset, options, stamp))
        ]
        done, total = len(folders) - len(jobs), len(folders)
        tell("extract", done, total)
        outcomes = (run or map)(extractor, jobs)
        ended = None
        try:
            for outcome in outcomes:
                if outcome.status == FATAL:
                    ended = (outcome.key, outcome.reason or "the run cannot go on.")
                    break
                journal.add(outcome.key, _entry(outcome))
                done += 1
                tell("extract", done, total)
        finally:
            if hasattr(outcomes, "close"):
                outcomes.close()  # its workers must end before the lock is let go
        rows = {
            f"{key}/{name}": each
            for key, entry in journal.entries.items()
            for name, each in entry["utterances"].items()
        }
        report = _report(dataset, len(jobs), journal.entries, rows, ended)
        if ended:
            raise EndedEarly(ended[1], report)
        write_sorted(dataset / "extract.jsonl", rows)
        return report


def _videos(dataset: Path) -> list[Path]:
    """The folders of clips, sorted."""
    clips = dataset / "clips"
    if not clips.is_dir():
        raise MediaError(f"{dataset} has no folder clips: make it with liveportrait-talker dataset download.")
    found = sorted({path.parent for path in clips.glob("*/*/*.mp4") if not path.name.startswith(".")})
    if not found:
        raise MediaError(f"{clips} has no <speaker>/<video>/<utterance>.mp4: there is nothing to extract.")
    return found


def _key(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _record(dataset: Path, folder: Path) -> Path:
    return dataset / "records" / folder.parent.name / f"{folder.name}.safetensors"


def _refuse_stale(records: Iterable[Path], stamp: Stamp) -> None:
    for record in records:
        if record.is_file() and (trouble := stale(record, stamp)):
            raise MediaError(f"{trouble}; give --redo to extract such records anew, or use another folder.")


def _left(
    folder: Path, metadata: Path | None, entry: Entry | None, dataset: Path, options: ExtractOptions, stamp: Stamp
) -> tuple[Clip, ...]:
    """The clips of a video that has something left to do: all of them, as its record is made whole."""
    names = sorted(path.stem for path in folder.glob("*.mp4") if not path.name.startswith("."))
    known = (entry or {}).get("utterances", {})
    record = _record(dataset, folder)
    failed = any(each["status"] != DONE for each in known.values())
    if (
        entry is None
        or set(names) != set(known)
        or entry["status"] == LATER
        or (failed and options.retry_failed)
        or (entry["status"] == DONE and not _is_good(record, stamp))
    ):
        return tuple(Clip(name, (folder / f"{name}.mp4").absolute(), _text(metadata, folder, name)) for name in names)
    return ()


def _is_good(record: Path, stamp: Stamp) -> bool:
    try:
        return record.is_file() and not stale(record, stamp)
    except MediaError:  # torn, or of another format: without --redo it was refused before
        return False


def _text(metadata: Path | None, folder: Path, name: str) -> Path | None:
    if metadata is None:
        return None
    text = (metadata / folder.parent.name / folder.name / f"{name}.txt").absolute()
    if not text.is_file():
        log.warning("%s is not there: the largest face of its clip is taken.", text)
        return None
    return text


def _entry(outcome: ExtractOutcome) -> Entry:
    return {"status": outcome.status, "reason": outcome.reason, "utterances": outcome.utterances}


def _report(
    dataset: Path,
    worked_on: int,
    entries: dict[str, Entry],
    rows: dict[str, Entry],
    ended: tuple[str, str] | None,
) -> ExtractReport:
    failures = tuple((key, str(row["reason"])) for key, row in sorted(rows.items()) if row["status"] != DONE)
    if ended:
        failures = ((ended[0], ended[1].partition(";")[0]), *failures)
    reasons = Counter(reason.partition(":")[0] for _, reason in failures)
    return ExtractReport(
        dataset=dataset,
        worked_on=worked_on,
        videos=dict(sorted(Counter(entry["status"] for entry in entries.values()).items())),
        utterances=dict(sorted(Counter(row["status"] for row in rows.values()).items())),
        frames=sum(row["frames"] for row in rows.values() if row["status"] == DONE),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        failures=failures,
    )
