"""The pieces of the page that are plain HTML: where a job stands, what was made, what is installed."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .jobs import RUNNING, WAITING, Ticket

Text = html.escape


@dataclass(frozen=True)
class Made:
    """A finished video of this session."""

    path: Path
    title: str
    detail: str


def progress(ticket: Ticket) -> str:
    """A job's stage, how far it is and how long it may take; or how many are ahead of it."""
    if ticket.state == WAITING:
        ahead = f"{ticket.ahead} job is" if ticket.ahead == 1 else f"{ticket.ahead} jobs are"
        text = f"Waiting: {ahead} ahead of yours." if ticket.ahead else "Waiting: yours is next."
        return _status("waiting", text)
    if ticket.state != RUNNING:
        return ""
    share = ticket.done / ticket.total if ticket.total else 0.0
    counted = f" {ticket.done:,} of {ticket.total:,}" if ticket.total > 1 else ""
    left = "" if ticket.seconds_left is None else f" · {duration(ticket.seconds_left)} left"
    stage = Text(ticket.stage[:1].upper() + ticket.stage[1:])
    bar = f'<progress max="1" value="{share:.3f}" aria-label="{stage}"></progress>'
    return _status("running", f"{stage}{counted}{left}", bar)


def notice(text: str) -> str:
    """One sentence that something is done, or to do."""
    return _status("notice", Text(text[:1].upper() + text[1:]))


def mistake(text: str) -> str:
    """One sentence about what went wrong."""
    return _status("mistake", Text(text[:1].upper() + text[1:]), role="alert")


def done(text: str, notes: Iterable[str] = ()) -> str:
    """What was made, and what the library noted on the way."""
    listed = "".join(f"<li>{Text(note)}</li>" for note in dict.fromkeys(notes))
    return _status(
        "done", Text(text), f"<details><summary>Notes</summary><ul>{listed}</ul></details>" if listed else ""
    )


def history(made: Sequence[Made]) -> str:
    """The videos of this session, the newest first."""
    if not made:
        return '<p class="lpt-empty">Nothing yet. What you make in this session is listed here until you leave.</p>'
    cards = "".join(
        f"<li>{_thumbnail(item)}"
        f"<div><strong>{Text(item.title)}</strong><span>{Text(item.detail)}</span>"
        f'<p><a href="{_address(item.path)}" target="_blank">Open</a>'
        f'<a href="{_address(item.path)}" download="{Text(item.path.name)}">Download</a></p></div></li>'
        for item in reversed(made)
    )
    return f'<ul class="lpt-history">{cards}</ul>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the cells are plain text."""
    head = "".join(f'<th scope="col">{Text(cell)}</th>' for cell in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{Text(h)}">{_breakable(cell)}</td>' for h, cell in zip(heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<table class="lpt-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def duration(seconds: float) -> str:
    """About how long, as people say it."""
    if seconds < 60:
        return f"about {max(1, math.ceil(seconds))} s"
    if seconds < 5400:
        return f"about {math.ceil(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def _breakable(name: str) -> str:
    """Text whose long names may be broken where their parts meet."""
    return Text(name).replace("_", "_<wbr>").replace("/", "/<wbr>")


def _thumbnail(item: Made) -> str:
    address, title = _address(item.path), Text(item.title)
    if item.path.suffix == ".mp4":
        return f'<video src="{address}#t=0.1" preload="metadata" muted aria-label="{title}"></video>'
    return f'<img src="{address}" alt="{title}">'


def _address(path: Path) -> str:
    return f"gradio_api/file={Text(str(path))}"


def _status(kind: str, text: str, more: str = "", *, role: str = "status") -> str:
    return f'<div class="lpt-status lpt-{kind}" role="{role}" data-state="{kind}"><p>{text}</p>{more}</div>'
