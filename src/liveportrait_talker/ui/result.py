"""The half of a tab where a video comes out: buttons, progress, the video, its download, command and history."""

from __future__ import annotations

import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..errors import TalkerError
from . import view
from .desk import Desk, owner
from .jobs import DONE, FAILED, Ticket
from .view import Made
from .worker import Order

_log = logging.getLogger(__name__)
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""For events that are the page's own business."""


@dataclass(frozen=True)
class Plan:
    """A job to be done, and what its result is called."""

    order: Order
    name: str
    """Of the file that is downloaded, without its suffix."""
    title: str
    command: Callable[[str], str]
    """The command line that makes the same, given the suffix of what was made."""


@dataclass(frozen=True)
class Result:
    """The widgets; `buttons` start jobs of the kind `kind`."""

    kind: str
    buttons: tuple[gr.Button, ...]
    cancel: gr.Button
    status: gr.HTML
    video: gr.Video
    picture: gr.Image
    extra: gr.DownloadButton
    """A second file, such as the motion."""
    download: gr.DownloadButton
    line: gr.Textbox
    history: gr.HTML
    made: gr.State

    @property
    def outputs(self) -> list[Any]:
        """What `follow` updates."""
        shown = [self.video, self.picture, self.download, self.extra, self.line, self.history]
        return [*self.buttons, self.cancel, self.status, *shown, self.made]

    def busy(self, busy: bool) -> dict[Any, Any]:
        """While a job runs it can be stopped, and no other started."""
        return {button: gr.update(interactive=not busy) for button in self.buttons} | {
            self.cancel: gr.update(interactive=busy)
        }


def result(prefix: str, desk: Desk, labels: Sequence[tuple[str, str]], hint: str, *, empty: bool = True) -> Result:
    """Draw the column. Jobs are of the kind `prefix`.

    `labels` are the buttons: (name in elem_id, text), the main one last; `empty` shows where the video will be.
    """
    with gr.Row():
        buttons = tuple(
            gr.Button(
                text,
                variant="primary" if name == labels[-1][0] else "secondary",
                elem_id=f"{prefix}-{name}",
                min_width=110,
            )
            for name, text in labels
        )
        cancel = gr.Button("Cancel", variant="stop", elem_id=f"{prefix}-cancel", interactive=False, min_width=90)
    status = gr.HTML(view.notice(hint), elem_id=f"{prefix}-status")
    video = gr.Video(
        label="Result", elem_id=f"{prefix}-video", interactive=False, height=420, buttons=[], visible=empty
    )
    picture = gr.Image(
        label="Result", elem_id=f"{prefix}-picture", interactive=False, height=420, visible=False, buttons=[]
    )
    download = gr.DownloadButton("Download", elem_id=f"{prefix}-download", visible=False)
    extra = gr.DownloadButton("Download the motion", elem_id=f"{prefix}-extra", visible=False)
    line = gr.Textbox(
        label="The same on the command line",
        elem_id=f"{prefix}-command",
        interactive=False,
        lines=3,
        buttons=["copy"],
        visible=False,
    )
    with gr.Accordion("History of this session", open=True):
        history = gr.HTML(view.history([]), elem_id=f"{prefix}-history")

    def stop(request: gr.Request) -> str:
        desk.jobs.stop_all(owner(request), prefix)
        return view.notice("Stopping.")

    cancel.click(stop, None, status, queue=False, **PRIVATE)
    return Result(prefix, buttons, cancel, status, video, picture, extra, download, line, history, gr.State([]))


async def follow(
    desk: Desk, request: gr.Request, at: Result, plan: Callable[[], Plan], made: Sequence[Made]
) -> AsyncIterator[dict[Any, Any]]:
    """Updates of the page from the click to the video, or to the sentence that says what went wrong."""
    yield {at.status: view.notice("Starting."), **at.busy(True)}
    try:
        async with aclosing(_done(desk, owner(request), at, plan, made)) as steps:
            async for updates in steps:
                yield updates
        return
    except TalkerError as error:
        told = str(error)
    except Exception as error:  # whatever it is, the page goes on
        _log.exception("a job could not be followed")
        told = f"something went wrong that should not have ({type(error).__name__}: {error})."
    yield {at.status: view.mistake(desk.uploads.names_only(told)), **at.busy(False)}


async def _done(
    desk: Desk, who: str, at: Result, plan: Callable[[], Plan], made: Sequence[Made]
) -> AsyncGenerator[dict[Any, Any], None]:
    """Updates up to the last. Raises TalkerError for what the user can mend."""
    plans: list[Plan] = []

    def ordered() -> Order:
        plans.append(plan())
        return plans[0].order

    ticket = await desk.hand_in(ordered, who, at.kind)
    async with aclosing(desk.follow(ticket)) as steps:
        async for text in steps:
            yield {at.status: text}
    if ticket.state == FAILED:
        raise TalkerError(ticket.error)
    if ticket.state != DONE:
        yield {at.status: view.notice("Stopped; nothing was kept."), **at.busy(False)}
    else:
        yield _finished(desk, who, at, plans[0], ticket, made) | at.busy(False)


def _finished(desk: Desk, who: str, at: Result, planned: Plan, ticket: Ticket, made: Sequence[Made]) -> dict[Any, Any]:
    """Move what was made to where the page may fetch it, and show it."""
    folder, produced, second = ticket.order.folder, str(ticket.result["made"]), ticket.result.get("extra")
    try:
        path = desk.uploads.keep(folder / produced, planned.name + folder.joinpath(produced).suffix, who)
        extra = None if second is None else desk.uploads.keep(folder / str(second), str(second), who)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    detail, is_video = describe(ticket.result), path.suffix == ".mp4"
    title = planned.title if is_video else "Picture"
    everything = [*made, Made(path, f"{title} {len(made) + 1}", detail)]
    return {
        at.status: view.done(f"Done: {detail}.", map(desk.uploads.names_only, ticket.notes)),
        at.video: gr.update(value=str(path) if is_video else None, visible=is_video),
        at.picture: gr.update(value=None if is_video else str(path), visible=not is_video),
        at.download: gr.update(value=str(path), visible=True),
        at.extra: gr.update(value=None if extra is None else str(extra), visible=extra is not None),
        at.line: gr.update(value=planned.command(path.suffix), visible=True),
        at.history: view.history(everything),
        at.made: everything,
    }


def describe(report: Mapping[str, Any]) -> str:
    """A report's numbers in a line."""
    words = []
    if report.get("frames", 0) > 1 and "video_seconds" in report:
        words.append(f"{report['video_seconds']:.1f} s")
    if "size" in report:
        words.append(f"{report['size'][0]}×{report['size'][1]} px")
    if "renderer" in report:
        words.append(f"{report['renderer']} renderer")
    if "seed" in report:
        words.append(f"seed {report['seed']}")
    if "elapsed_seconds" in report:
        words.append(f"made in {report['elapsed_seconds']:.1f} s")
    return ", ".join(words)
