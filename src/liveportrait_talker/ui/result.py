"""The result column of a tab: buttons, progress, the video, its download, command line and history."""

from __future__ import annotations

import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..errors import TalkerError
from . import markup
from .backend import Backend, owner_of
from .jobs import DONE, FAILED, Job
from .markup import HistoryItem
from .worker import Task, internal_error

_log = logging.getLogger(__name__)
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Arguments of events that are not part of the API."""
TAKES = (("preview", "Preview 2 s"), ("run", "Generate"))
"""Buttons of the tabs that make talking videos."""


@dataclass(frozen=True)
class Plan:
    """A task and the presentation of its result.

    `name` is the name of the downloaded file, without its suffix; `command` returns the equivalent command line,
    given the suffix of the output.
    """

    task: Task
    name: str
    title: str
    command: Callable[[str], str]


@dataclass(frozen=True)
class ResultColumn:
    """The widgets; `buttons` start jobs of the kind `kind`, `extra` downloads a second file, such as the motion."""

    kind: str
    buttons: tuple[gr.Button, ...]
    cancel: gr.Button
    status: gr.HTML
    video: gr.Video
    picture: gr.Image
    extra: gr.DownloadButton
    download: gr.DownloadButton
    command: gr.Textbox
    takes: gr.HTML
    takes_group: gr.Accordion
    history: gr.HTML
    items: gr.State
    """The history, a list of HistoryItem."""

    @property
    def outputs(self) -> list[Any]:
        """The components that `run_job` updates."""
        shown: list[Any] = [self.video, self.picture, self.download, self.extra, self.command]
        shown += [self.takes, self.takes_group, self.history]
        return [*self.buttons, self.cancel, self.status, *shown, self.items]

    def set_busy(self, busy: bool) -> dict[Any, Any]:
        """Return updates for the buttons: while a job runs, it can be cancelled and no other started."""
        return {button: gr.update(interactive=not busy) for button in self.buttons} | {
            self.cancel: gr.update(interactive=busy)
        }


def build_result(
    kind: str, backend: Backend, labels: Sequence[tuple[str, str]], hint: str, *, placeholder: bool = True
) -> ResultColumn:
    """Build the column.

    Args:
        kind: kind of the jobs, and start of every elem_id.
        backend: the server's state.
        labels: (name in the elem_id, text) of each button, the main one last.
        hint: first status message.
        placeholder: whether an empty video is shown at first.
    """
    with gr.Row():
        buttons = tuple(
            gr.Button(
                text,
                variant="primary" if name == labels[-1][0] else "secondary",
                elem_id=f"{kind}-{name}",
                min_width=110,
            )
            for name, text in labels
        )
        cancel = gr.Button("Cancel", variant="stop", elem_id=f"{kind}-cancel", interactive=False, min_width=90)
    status = gr.HTML(markup.notice(hint), elem_id=f"{kind}-status")
    video = gr.Video(
        label="Result",
        elem_id=f"{kind}-video",
        interactive=False,
        height=420,
        buttons=[],
        visible=placeholder,
        autoplay=True,
    )
    picture = gr.Image(
        label="Result", elem_id=f"{kind}-picture", interactive=False, height=420, visible=False, buttons=[]
    )
    download = gr.DownloadButton("Download", elem_id=f"{kind}-download", visible=False)
    extra = gr.DownloadButton("Download the motion", elem_id=f"{kind}-extra", visible=False)
    command = gr.Textbox(
        label="The same on the command line",
        elem_id=f"{kind}-command",
        interactive=False,
        lines=3,
        buttons=["copy"],
        visible=False,
    )
    with gr.Accordion("Takes side by side", open=False, visible=False, elem_id=f"{kind}-compare") as group:
        takes = gr.HTML("", elem_id=f"{kind}-takes")
    with gr.Accordion("History of this session", open=True):
        history = gr.HTML(markup.history([]), elem_id=f"{kind}-history")
    connect_cancel(cancel, status, backend, kind)
    return ResultColumn(
        kind, buttons, cancel, status, video, picture, extra, download, command, takes, group, history, gr.State([])
    )


def connect_cancel(button: gr.Button, status: gr.HTML, backend: Backend, kind: str) -> None:
    """Let a button stop the session's jobs of one kind."""

    def stop(request: gr.Request) -> str:
        backend.jobs.stop_all(owner_of(request), kind)
        return markup.notice("Stopping.")

    button.click(stop, None, status, queue=False, **PRIVATE)


async def run_job(
    backend: Backend, request: gr.Request, column: ResultColumn, plan: Callable[[], Plan], items: Sequence[HistoryItem]
) -> AsyncIterator[dict[Any, Any]]:
    """Run a job and yield updates of the column, from the click to the result or the error message.

    `plan` is called in a thread, and may raise TalkerError; `items` are the history so far.
    """
    yield {column.status: markup.notice("Starting."), **column.set_busy(True)}
    try:
        async with aclosing(_run(backend, owner_of(request), column, plan, items)) as steps:
            async for updates in steps:
                yield updates
        return
    except TalkerError as error:
        message = str(error)
    except Exception as error:
        _log.exception("a job could not be run")
        message = internal_error(error)
    yield {column.status: markup.error(message), **column.set_busy(False)}


async def _run(
    backend: Backend, owner: str, column: ResultColumn, plan: Callable[[], Plan], items: Sequence[HistoryItem]
) -> AsyncGenerator[dict[Any, Any], None]:
    """Yield the updates of a job that does not fail. Raises TalkerError for errors that the user can correct."""
    plans: list[Plan] = []

    def make_task() -> Task:
        plans.append(plan())
        return plans[0].task

    job = await backend.submit(make_task, owner, column.kind)
    async with aclosing(backend.watch(job)) as steps:
        async for text in steps:
            yield {column.status: text}
    if job.state == FAILED:
        raise TalkerError(job.error)
    if job.state != DONE:
        yield {column.status: markup.notice("Stopped; nothing was kept."), **column.set_busy(False)}
    else:
        yield _show(backend, owner, column, plans[0], job, items) | column.set_busy(False)


def _show(
    backend: Backend, owner: str, column: ResultColumn, plan: Plan, job: Job, items: Sequence[HistoryItem]
) -> dict[Any, Any]:
    """Move the outputs of a job to where the page may download them, and return updates that show them."""
    uploads, folder, second = backend.uploads, job.task.folder, job.result.get("extra")
    output = folder / str(job.result["output"])
    try:
        path = uploads.serve_result(output, plan.name + output.suffix, owner)
        extra = None if second is None else uploads.serve_result(folder / str(second), str(second), owner)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    detail, is_video = describe(job.result), path.suffix == ".mp4"
    title = plan.title if is_video else "Picture"
    items = [*items, HistoryItem(path, f"{title} {len(items) + 1}", detail)]
    return {
        column.status: markup.success(f"Done: {detail}.", job.notes),
        column.video: gr.update(value=str(path) if is_video else None, visible=is_video),
        column.picture: gr.update(value=None if is_video else str(path), visible=not is_video),
        column.download: gr.update(value=str(path), visible=True),
        column.extra: gr.update(value=None if extra is None else str(extra), visible=extra is not None),
        column.command: gr.update(value=plan.command(path.suffix), visible=True),
        column.takes: markup.takes(items),
        column.takes_group: gr.update(visible=sum(item.path.suffix == ".mp4" for item in items) > 1),
        column.history: markup.history(items),
        column.items: items,
    }


def describe(report: Mapping[str, Any]) -> str:
    """Return duration, size, renderer, seed and elapsed time of a report in one line."""
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
