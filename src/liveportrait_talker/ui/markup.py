"""HTML fragments of the page: status boxes, the history and tables. Texts lose the server's folders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .folders import hide_folders
from .jobs import RUNNING, WAITING, Job

_TAKES = 4  # that are shown side by side


@dataclass(frozen=True)
class HistoryItem:
    """A finished video or picture of this session."""

    path: Path
    title: str
    detail: str


def progress(job: Job) -> str:
    """Return the stage, progress and remaining time of a job, or its place in the queue; empty if it has ended."""
    if job.state == WAITING:
        ahead = f"{job.ahead} job is" if job.ahead == 1 else f"{job.ahead} jobs are"
        text = f"Waiting: {ahead} ahead of yours." if job.ahead else "Waiting: yours is next."
        return _status("waiting", text)
    if job.state != RUNNING:
        return ""
    share = job.done / job.total if job.total else 0.0
    counted = f" {job.done:,} of {job.total:,}" if job.total > 1 else ""
    left = "" if job.seconds_left is None else f" · {format_duration(job.seconds_left)} left"
    stage = escape(_capitalise(job.stage))
    bar = f'<progress max="1" value="{share:.3f}" aria-label="{stage}"></progress>'
    return _status("running", f"{stage}{counted}{left}", bar)


def notice(text: str) -> str:
    """Return a status box with a neutral message."""
    return _status("notice", _shown(_capitalise(text)))


def error(text: str) -> str:
    """Return a status box with an error message."""
    return _status("error", _shown(_capitalise(text)), role="alert")


def success(text: str, notes: Iterable[str] = ()) -> str:
    """Return a status box for a finished job, with the log messages in a fold."""
    items = "".join(f"<li>{_shown(note)}</li>" for note in dict.fromkeys(notes))
    details = f"<details><summary>Notes</summary><ul>{items}</ul></details>" if items else ""
    return _status("done", _shown(text), details)


def remark(text: str) -> str:
    """Return a paragraph in a subdued colour."""
    return f'<p class="lpt-empty">{_shown(text)}</p>'


def history(items: Sequence[HistoryItem]) -> str:
    """Return the list of results, the newest first."""
    if not items:
        return remark("Nothing yet. The results of this session are listed here until you leave.")
    cards = "".join(
        f"<li>{_thumbnail(item)}"
        f"<div><strong>{escape(item.title)}</strong><span>{escape(item.detail)}</span>"
        f'<p><a href="{_url(item.path)}" target="_blank">Open</a>'
        f'<a href="{_url(item.path)}" download="{escape(item.path.name)}">Download</a></p></div></li>'
        for item in reversed(items)
    )
    return f'<ul class="lpt-history">{cards}</ul>'


def takes(items: Sequence[HistoryItem]) -> str:
    """Return the last videos side by side, the newest first."""
    videos = [item for item in items if item.path.suffix == ".mp4"][: -_TAKES - 1 : -1]
    figures = "".join(
        f'<figure><video src="{_url(item.path)}" controls preload="metadata" aria-label="{escape(item.title)}"></video>'
        f"<figcaption>{escape(item.title)}: {escape(item.detail)}</figcaption></figure>"
        for item in videos
    )
    return f'<div class="lpt-takes">{figures}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are plain text."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{escape(h)}">{_breakable(cell)}</td>' for h, cell in zip(heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<table class="lpt-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def format_duration(seconds: float) -> str:
    """Return an approximate duration in seconds, minutes or hours."""
    if seconds < 60:
        return f"about {max(1, math.ceil(seconds))} s"
    if seconds < 5400:
        return f"about {math.ceil(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def _shown(text: str) -> str:
    return escape(hide_folders(text))


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _breakable(name: str) -> str:
    """Return escaped text in which lines may break after underscores and slashes."""
    return _shown(name).replace("_", "_<wbr>").replace("/", "/<wbr>")


def _thumbnail(item: HistoryItem) -> str:
    url, title = _url(item.path), escape(item.title)
    if item.path.suffix == ".mp4":
        return f'<video src="{url}#t=0.1" preload="metadata" muted aria-label="{title}"></video>'
    return f'<img src="{url}" alt="{title}">'


def _url(path: Path) -> str:
    return f"gradio_api/file={escape(str(path))}"


def _status(kind: str, text: str, more: str = "", *, role: str = "status") -> str:
    return f'<div class="lpt-status lpt-{kind}" role="{role}" data-state="{kind}"><p>{text}</p>{more}</div>'
