"""Resumable jobs on source videos: outcomes, the journal loop and the report of `download` and `extract`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..progress import OnStep
from ..system.journal import DONE, FAILED, LATER, Entry, Journal

if TYPE_CHECKING:
    from .download import DownloadJob
    from .extractor import ExtractJob

FATAL = "fatal"
"""Status of an outcome that ends the run, because the disk is full or not writable; not stored in the journal."""
CANCELLED = "cancelled"
"""Status of a job that was cancelled at the end of its run; not stored in the journal."""
MAX_LISTED = 20
"""Failures and notes that the text of a report lists."""


@dataclass(frozen=True)
class VideoOutcome:
    """The outcome of a job on one source video."""

    key: str
    """`speaker/video`."""
    status: str
    """`done` (though some utterances may have failed), `failed`, `later`, `fatal` or `cancelled`."""
    reason: str | None
    utterances: dict[str, Entry]
    """Name → status, reason (None when done), frames (None where unknown)."""


@dataclass(frozen=True)
class DatasetReport:
    """The state of a data set after a run. Its text is a table."""

    dataset: Path
    worked_on: int
    """Source videos that this run processed."""
    videos: dict[str, int]
    """Number of source videos by status."""
    utterances: dict[str, int]
    """Number of utterances by status."""
    reasons: dict[str, int]
    """Number of failed utterances by reason."""
    failures: tuple[tuple[str, str], ...]
    """`speaker/video/utterance` and reason of each failed utterance, sorted."""

    def table(self, title: str, *details: str) -> list[str]:
        """Return the lines of the report."""
        lines = [f"{title}; this run worked on {self.worked_on:,} videos", "              videos  utterances"]
        for status in (DONE, FAILED, LATER):
            lines.append(f"  {status:10}{self.videos.get(status, 0):>8,}{self.utterances.get(status, 0):>12,}")
        lines += details
        lines += [f"  {count:>8,}  {reason}" for reason, count in self.reasons.items()]
        return lines + list_some([f"{key}: {reason}" for key, reason in self.failures], "failures")


def list_some(items: Iterable[str], kind: str) -> list[str]:
    """Return at most `MAX_LISTED` of the items as lines, and how many more there are."""
    items = list(items)
    more = [f"  … and {len(items) - MAX_LISTED:,} more {kind}"] if len(items) > MAX_LISTED else []
    return [f"  {item}" for item in items[:MAX_LISTED]] + more


def utterance_entry(reason: str | None, frames: int | None, status: str | None = None) -> Entry:
    """Return the journal entry of an utterance, by default `done` without a reason and `failed` with one."""
    return {"status": status or (DONE if reason is None else FAILED), "reason": reason, "frames": frames}


def is_entry(entry: Entry) -> bool:
    """Return whether the fields of a video's entry in a journal have the types that are read."""
    utterances = entry.get("utterances")
    return (
        isinstance(utterances, dict)
        and all(isinstance(each, dict) for each in utterances.values())
        and all(each.get("status") in (DONE, FAILED, LATER) for each in utterances.values())
        and all("reason" in each and _is_count(each.get("frames", "")) for each in utterances.values())
    )


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and 0 <= value < 10**9)


def postpone(job: DownloadJob | ExtractJob, reason: str) -> VideoOutcome:
    """Return the outcome of a job that the next run retries, for instance because its worker died."""
    entries = {name: utterance_entry(reason, None, LATER) for name in job.utterances}
    return VideoOutcome(job.key, LATER, reason, entries)


def record_outcomes(
    outcomes: Iterable[VideoOutcome],
    journal: Journal,
    make_entry: Callable[[VideoOutcome], Entry],
    done: int,
    on_video: OnStep,
    total: int,
) -> tuple[str, str] | None:
    """Write outcomes to the journal; return the key and reason of a fatal one, which ends the run.

    Closes the iterator of outcomes, so that its workers end before the journal is unlocked.
    """
    on_video(done, total)
    try:
        for outcome in outcomes:
            if outcome.status == FATAL:
                return outcome.key, outcome.reason or "the run cannot continue."
            if outcome.status != CANCELLED:
                journal.add(outcome.key, make_entry(outcome))
                done += 1
                on_video(done, total)
    finally:
        if hasattr(outcomes, "close"):
            outcomes.close()
    return None


def summarise(entries: dict[str, Entry], rows: dict[str, Entry], fatal: tuple[str, str] | None) -> dict[str, Any]:
    """Return `videos`, `utterances`, `reasons` and `failures` of a report from the videos' and utterances' entries."""
    failures = tuple((key, str(row["reason"])) for key, row in sorted(rows.items()) if row["status"] != DONE)
    if fatal:
        failures = ((fatal[0], fatal[1].partition(": ")[0]), *failures)
    # A reason may have details after a colon; failures are counted without them.
    reasons = Counter(reason.partition(":")[0] for _, reason in failures)
    return {
        "videos": dict(sorted(Counter(entry["status"] for entry in entries.values()).items())),
        "utterances": dict(sorted(Counter(row["status"] for row in rows.values()).items())),
        "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        "failures": failures,
    }
