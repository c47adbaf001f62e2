"""The Models tab: which weights are installed, their licences, and their download."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from ..errors import TalkerError
from ..weights import registry, store
from . import view
from .desk import Desk, owner
from .jobs import DONE, FAILED
from .result import PRIVATE
from .worker import Order

_HEADS = ("Weights", "Networks", "Size", "State", "Licence")


def build(desk: Desk) -> gr.HTML:
    """Draw the tab and wire it; returns the table, to be filled when the tab is opened."""
    gr.HTML(
        '<p class="lpt-empty">Nothing is needed for the embedded renderer. With LivePortrait’s weights its networks '
        "draw; with SadTalker’s and the MappingNet they also move the lips. Downloads are checked, and go on where "
        "they broke off.</p>"
    )
    table = gr.HTML(installed(), elem_id="models-table")
    with gr.Row(equal_height=True):
        names = gr.CheckboxGroup(_choices(), label="Download", elem_id="models-names", value=[])
    with gr.Row():
        fetch = gr.Button("Download", variant="primary", elem_id="models-download", min_width=110)
        cancel = gr.Button("Cancel", variant="stop", elem_id="models-cancel", interactive=False, min_width=90)
    status = gr.HTML(_offline_notice() or view.notice("Choose weights, then Download."), elem_id="models-status")

    async def download(chosen: list[str], request: gr.Request) -> AsyncIterator[dict[Any, Any]]:
        def busy(on: bool) -> dict[Any, Any]:
            return {fetch: gr.update(interactive=not on), cancel: gr.update(interactive=on)}

        if notice := _offline_notice():
            yield {status: notice}
            return
        if not chosen:
            yield {status: view.mistake("say which weights: tick some of them first.")}
            return
        yield {status: view.notice("Starting."), **busy(True)}
        try:
            folder = desk.jobs.new_folder()
            ticket = desk.jobs.submit(Order("models", folder, {"names": list(chosen)}), owner(request))
        except (TalkerError, OSError) as error:
            yield {status: view.mistake(str(error)), **busy(False)}
            return
        async for text in desk.follow(ticket):
            yield {status: text}
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if ticket.state == FAILED:
            words = view.mistake(ticket.error)
        elif ticket.state == DONE:
            words = view.done("Done: " + ", ".join(ticket.result["downloaded"]) + " can be used", ticket.notes)
        else:
            words = view.notice("Stopped; what has come so far is kept, and the next download goes on from there.")
        yield {status: words, table: installed(), **busy(False)}

    def stop(request: gr.Request) -> str:
        desk.jobs.stop_all(owner(request), "models")
        return view.notice("Stopping.")

    fetch.click(download, names, [status, table, fetch, cancel], concurrency_limit=None, **PRIVATE)
    cancel.click(stop, None, status, queue=False, **PRIVATE)
    return table


def installed() -> str:
    """The table of all released files."""
    rows = []
    for item in store.installed():
        size = f"{item.file.size / 1e6:,.0f} MB" if item.file.size else "not published"
        state = "installed" if item.ready else "in part" if item.converted else "not installed"
        rows.append((item.file.name, ", ".join(item.file.networks), size, state, item.file.licence))
    return view.table(_HEADS, rows) + f'<p class="lpt-empty">In {view.Text(str(store.root()))}</p>'


def _choices() -> list[tuple[str, str]]:
    groups = list(dict.fromkeys(file.group for file in registry.FILES))
    found = []
    for group in groups:
        files = [file for file in registry.FILES if file.group == group]
        size = sum(file.size or 0 for file in files)
        found.append((f"{group} ({size / 1e6:,.0f} MB)" if size else group, group))
    return found


def _offline_notice() -> str | None:
    variable = store.offline()
    if variable is None:
        return None
    return view.mistake(f"offline: {variable} forbids the network, so nothing can be downloaded here.")
