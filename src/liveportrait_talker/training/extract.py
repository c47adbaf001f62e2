"""Extracting one record per source video from the clips of a data set; resumable at any moment.

<dataset>/clips/<speaker>/<youtube id>/<utterance>.mp4       input
<dataset>/records/<speaker>/<youtube id>.safetensors         output (see `records`)
<dataset>/extract.journal, extract.jsonl                     finished videos; the sorted list of utterances
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import EndedEarly, MediaError
from ..progress import OnProgress, ignore_progress, steps_of
from ..system.journal import DONE, LATER, Entry, Journal, write_sorted
from ..system.links import leads_out, refuse_links_out
from .extractor import ExtractJob, Extractor
from .faces import Clip
from .options import ExtractOptions
from .records import Stamp, find_stamp_difference
from .video_jobs import DatasetReport, VideoOutcome, is_entry, record_outcomes, summarise

log = logging.getLogger(__name__)

Runner = Callable[[Callable[[ExtractJob], VideoOutcome], Iterable[ExtractJob]], Iterable[VideoOutcome]]


@dataclass(frozen=True)
class ExtractReport(DatasetReport):
    """The state of a data set after an extraction."""

    frames: int
    """Frames in all records."""

    def __str__(self) -> str:
        return "\n".join(self.table(f"records in {self.dataset / 'records'}: {self.frames:,} frames"))


def extract(
    dataset: Path,
    metadata: Path | None = None,
    options: ExtractOptions | None = None,
    *,
    weights: tuple[tuple[str, str], ...] = (),
    on_progress: OnProgress | None = None,
    run: Runner | None = None,
) -> ExtractReport:
    """Extract the 3DMM coefficients and LivePortrait's keypoints of every clip; resume an earlier run.

    Args:
        dataset: a folder with clips/<speaker>/<video>/<utterance>.mp4, such as `download` makes.
        metadata: the tree of text files with face boxes; without it the largest face is used.
        options: see ExtractOptions.
        weights: network → checkpoint file, instead of the installed ones.
        on_progress: called with source videos.
        run: maps the extractor over jobs and yields outcomes in any order; by default one after the other.

    Raises:
        EndedEarly: the disk is full or cannot be written; the error has the report.
        MediaError: there are no clips, another run uses the data set, or a record was made by other extractors.
        WeightsError: the networks are not installed.
    """
    options = options or ExtractOptions()
    extractor = Extractor(options.device, options.batch_size, options.decoders, weights)
    stamp = extractor.stamp
    folders = _find_videos(dataset)[: options.limit]
    with Journal(dataset / "extract.journal", is_entry) as journal:
        records = [_record_path(dataset, folder) for folder in folders]
        refuse_links_out(records, dataset / "records")
        if not options.redo:
            _refuse_other_stamps(records, stamp)
        jobs = [
            ExtractJob(_key(folder), clips, _record_path(dataset, folder).absolute())
            for folder in folders
            if (clips := _pending_clips(folder, metadata, journal.entries.get(_key(folder)), dataset, options, stamp))
        ]
        fatal = record_outcomes(
            (run or map)(extractor, jobs),
            journal,
            lambda one: {"status": one.status, "reason": one.reason, "utterances": one.utterances},
            len(folders) - len(jobs),
            steps_of("extract", on_progress or ignore_progress),
            len(folders),
        )
        rows = {
            f"{key}/{name}": each
            for key, entry in journal.entries.items()
            for name, each in entry["utterances"].items()
        }
        frames = sum(row["frames"] for row in rows.values() if row["status"] == DONE)
        summary = summarise(journal.entries, rows, fatal)
        report = ExtractReport(dataset=dataset, worked_on=len(jobs), frames=frames, **summary)
        if fatal:
            raise EndedEarly(fatal[1], report)
        write_sorted(dataset / "extract.jsonl", rows)
        return report


def _find_videos(dataset: Path) -> list[Path]:
    """Return the folders of clips, sorted."""
    clips = dataset / "clips"
    if not clips.is_dir():
        raise MediaError(f"{dataset} has no folder clips: make it with liveportrait-talker dataset download.")
    files = [path for path in clips.glob("*/*/*.mp4") if not path.name.startswith(".")]
    refuse_links_out(files, clips)
    found = sorted({path.parent for path in files})
    if not found:
        raise MediaError(f"{clips} has no <speaker>/<video>/<utterance>.mp4: there is nothing to extract.")
    return found


def _key(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _record_path(dataset: Path, folder: Path) -> Path:
    return dataset / "records" / folder.parent.name / f"{folder.name}.safetensors"


def _refuse_other_stamps(records: Iterable[Path], stamp: Stamp) -> None:
    for record in records:
        if record.is_file() and (difference := find_stamp_difference(record, stamp)):
            raise MediaError(f"{difference}; extract such records again with --redo, or use another folder.")


def _pending_clips(
    folder: Path, metadata: Path | None, entry: Entry | None, dataset: Path, options: ExtractOptions, stamp: Stamp
) -> tuple[Clip, ...]:
    """Return all clips of a video if its record must be made, else none."""
    names = sorted(path.stem for path in folder.glob("*.mp4") if not path.name.startswith("."))
    known = (entry or {}).get("utterances", {})
    record = _record_path(dataset, folder)
    failed = any(each["status"] != DONE for each in known.values())
    if (
        entry is None
        or set(names) != set(known)
        or entry["status"] == LATER
        or (failed and options.retry_failed)
        or (entry["status"] == DONE and not _is_valid(record, stamp))
    ):
        return tuple(
            Clip(name, (folder / f"{name}.mp4").absolute(), _text_path(metadata, folder, name)) for name in names
        )
    return ()


def _is_valid(record: Path, stamp: Stamp) -> bool:
    try:
        return record.is_file() and not find_stamp_difference(record, stamp)
    except MediaError:  # incomplete, or of another format
        return False


def _text_path(metadata: Path | None, folder: Path, name: str) -> Path | None:
    if metadata is None:
        return None
    text = (metadata / folder.parent.name / folder.name / f"{name}.txt").absolute()
    if not text.is_file():
        log.warning("%s does not exist: the largest face of its clip is used.", text)
        return None
    if leads_out(text, metadata):
        log.warning("%s is behind a link that leaves %s: the largest face of its clip is used.", text, metadata)
        return None
    return text
