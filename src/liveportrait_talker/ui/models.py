"""The Models tab: which weights are installed, their licences, and their download."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr

from ..errors import TalkerError
from ..weights import registry, store
from . import markup
from .backend import Backend, owner_of
from .jobs import DONE, FAILED
from .result import PRIVATE, connect_cancel
from .worker import Task

_EFFECTS = {
    "liveportrait": (
        "Networks draw the face (renderer neural, or hybrid for the mouths): skin, lips and teeth are made anew in "
        "every frame, at 512×512 px. Slower: a GPU helps.",
        "yes",
    ),
    "sadtalker": (
        "Head motion from the voice (head pose audio); with talker, lips by the learned driver.",
        "ask the authors: its training used the Basel Face Model, which has terms of its own",
    ),
    "talker": ("With sadtalker: lips by the learned driver.", "ask the authors, or train your own"),
}
"""Group of weights → what they change, and whether they may be used commercially (README.md, the table of licences)."""
_GROUP_HEADS = ("Download", "What it changes", "Size", "Licence", "Commercial use")
_HEADS = ("Weights", "Networks", "Size", "State")


def build(backend: Backend, *, downloads: bool) -> gr.HTML:
    """Build the tab; returns the table, which is filled when the tab is opened. `downloads` adds the download."""
    gr.HTML(
        markup.remark(
            "The embedded renderer needs no weights. LivePortrait’s weights are for the neural renderer; SadTalker’s "
            "and the MappingNet are for learned lip motion."
        )
    )
    gr.HTML(effects_table(), elem_id="models-effects")
    table = gr.HTML(installed_table(), elem_id="models-table")
    if downloads:
        _build_download(backend, table)
    return table


def _build_download(backend: Backend, table: gr.HTML) -> None:
    gr.HTML(markup.remark("Downloads are verified, and resume where they stopped."))
    with gr.Row(equal_height=True):
        names = gr.CheckboxGroup(_choices(), label="Download", elem_id="models-names", value=[])
    with gr.Row():
        start = gr.Button("Download", variant="primary", elem_id="models-download", min_width=110)
        cancel = gr.Button("Cancel", variant="stop", elem_id="models-cancel", interactive=False, min_width=90)
    status = gr.HTML(_offline_error() or markup.notice("Choose weights, then Download."), elem_id="models-status")

    async def download(selected: list[str], request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        def set_busy(busy: bool) -> dict[Any, Any]:
            return {start: gr.update(interactive=not busy), cancel: gr.update(interactive=busy)}

        if error_box := _offline_error():
            yield {status: error_box}
            return
        if not selected:
            yield {status: markup.error("no weights are selected: tick some of them first.")}
            return
        yield {status: markup.notice("Starting."), **set_busy(True)}
        try:
            folder = backend.jobs.new_folder()
            job = backend.jobs.submit(Task("models", folder, {"names": list(selected)}), owner_of(request))
        except (TalkerError, OSError) as error:
            yield {status: markup.error(str(error)), **set_busy(False)}
            return
        async for text in backend.watch(job):
            yield {status: text}
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if job.state == FAILED:
            message = markup.error(job.error)
        elif job.state == DONE:
            message = markup.success("Done: " + ", ".join(job.result["downloaded"]) + " can be used", job.notes)
        else:
            message = markup.notice("Stopped; the downloaded part is kept, and the next download resumes there.")
        yield {status: message, table: installed_table(), **set_busy(False)}

    start.click(download, names, [status, table, start, cancel], concurrency_limit=None, **PRIVATE)
    connect_cancel(cancel, status, backend, "models")


def effects_table() -> str:
    """Return the table of what each download changes as HTML."""
    rows = []
    for group, (effect, commercial) in _EFFECTS.items():
        files = [file for file in registry.FILES if file.group == group]
        licences = "; ".join(dict.fromkeys(file.licence for file in files))
        rows.append((group, effect, _total(files), licences, commercial))
    return markup.table(_GROUP_HEADS, rows)


def _total(files: Sequence[registry.ReleasedFile]) -> str:
    size = sum(file.size or 0 for file in files)
    return f"{size / 1e6:,.0f} MB" if size else "not published"


def installed_table() -> str:
    """Return the table of all released files as HTML."""
    rows = []
    for item in store.installed():
        state = "installed" if item.ready else "in part" if item.converted else "not installed"
        rows.append((item.file.name, ", ".join(item.file.networks), _total([item.file]), state))
    return markup.table(_HEADS, rows)


def _choices() -> list[tuple[str, str]]:
    """Return (label with the size, name) of each group of weights."""
    choices = []
    for group in dict.fromkeys(file.group for file in registry.FILES):
        size = sum(file.size or 0 for file in registry.FILES if file.group == group)
        choices.append((f"{group} ({size / 1e6:,.0f} MB)" if size else group, group))
    return choices


def _offline_error() -> str | None:
    variable = store.offline()
    if variable is None:
        return None
    return markup.error(f"offline: {variable} forbids the network, so nothing can be downloaded here.")
