"""Removal of files when a page is closed, and errors of the disk."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from accordions import open_accordions
from fakes import fake_work, long_work
from waiting import wait_until

from liveportrait_talker.errors import MediaError
from liveportrait_talker.examples import FOLDER as EXAMPLES
from liveportrait_talker.motion.face_measurements import FaceMeasurements
from liveportrait_talker.motion.template import Template, save_template
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.ui import uploads
from liveportrait_talker.ui.backend import Backend
from liveportrait_talker.ui.jobs import STOPPED, Jobs
from liveportrait_talker.ui.previews import Previews
from liveportrait_talker.ui.result import Plan, build_result, run_job
from liveportrait_talker.ui.server import Server
from liveportrait_talker.ui.worker import Task


def write_template(path: Path) -> Path:
    one = [np.zeros((1, n)) for n in (3, 2)]
    seen = FaceMeasurements(25.0, one[0], one[1], np.ones(1), one[1] + 0.3, one[1], np.zeros((1, 4)), one[1])
    save_template(Template(None, seen), path)
    return path


def run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread of its own: Playwright has an event loop in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result(60)


def test_the_page_says_that_the_server_has_ended(serve: Callable[..., Server], visit: Any, artefacts: Path):
    with socket.socket() as free:  # not the default port: another test process may serve there at once
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve(fake_work, port=port)
    page = visit(server)
    assert not page.locator("#lpt-ended").inner_text()
    server.close()
    page.locator("#lpt-ended").get_by_text("The server does not answer.").wait_for()
    page.screenshot(path=artefacts / "ended.png")


def test_uploads_are_removed_with_the_page(fake: Server, visit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "_GRACE_S", 0.0)
    served = fake.backend.uploads.served
    (tmp_path / "frames.json").write_text(json.dumps([{"time": 0, "smile": 0}]))
    (tmp_path / "weights.safetensors").write_bytes(b"weights")

    def files() -> set[str]:
        found = [Path(folder, name) for folder, _, names in os.walk(served) for name in names]
        return {path.name for path in found if path.parent != served}  # Gradio leaves empty files there

    def put(field: str, file: Path) -> None:
        page.locator(f"#{field} input[type=file]").set_input_files(file)

    before = files()
    page = visit(fake)
    page.get_by_label("Microphone").check()
    page.locator("#talk-microphone").get_by_role("button", name="Record").click()
    time.sleep(1)
    page.locator("#talk-microphone").get_by_role("button", name="Stop").first.click()
    open_accordions(page, page.locator("#talk-group-eyes"))
    put("talk-ref_blink", EXAMPLES / "voice.wav")
    open_accordions(page, page.locator("#talk-group-mouth"))
    (tmp_path / "teeth.png").write_bytes((EXAMPLES / "portrait.png").read_bytes() + b" ")
    put("talk-mouth_from", tmp_path / "teeth.png")
    page.get_by_role("tab", name="Animate").click()
    put("animate-driving", write_template(tmp_path / "motion.npz"))
    page.get_by_text("Seen as: motion template").wait_for()
    page.get_by_role("tab", name="Edit").click()
    open_accordions(page, page.locator("#edit-group-expression, #edit-group-copy-an-expression").first)
    put("edit-sample", EXAMPLES / "portrait.png")
    put("edit-keyframes", tmp_path / "frames.json")
    put("edit-portrait", EXAMPLES / "portrait.png")
    page.locator("#edit-live img").wait_for()
    wanted = {"voice.wav", "motion.npz", "portrait.png", "frames.json", "live.jpg", "teeth.png"}
    wait_until(
        lambda: wanted <= files() and len(files() - before - wanted) >= 1
    )  # and the recording, whose name varies
    page.wait_for_timeout(500)
    page.close()
    wait_until(lambda: files() <= before)


@pytest.fixture
def backend() -> Iterator[Backend]:
    store = uploads.Uploads(uploads.UploadLimits(file_mb=10, session_mb=20, total_mb=50, seconds=10, pixels=10**7))
    made = Backend(store, Jobs(store.jobs, fake_work), Previews(store))
    yield made
    made.jobs.close()
    store.close()


def final_status(backend: Backend, plan: Callable[[], Plan]) -> tuple[str, bool]:
    """Run a job; return the last status, and whether the buttons are enabled again."""
    with gr.Blocks():
        at = build_result("talk", backend, [("run", "Generate")], "hint")

    async def collect() -> list[dict[Any, Any]]:
        request: Any = SimpleNamespace(session_hash="me")
        return [updates async for updates in run_job(backend, request, at, plan, [])]

    last = run_in_thread(collect())[-1]
    return last[at.status], last[at.buttons[0]]["interactive"] and not last[at.cancel]["interactive"]


def test_disk_errors_are_shown(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    def full() -> Plan:
        raise OSError(28, "No space left on device", str(backend.uploads.jobs / "abc" / "the portrait"))

    status, enabled = final_status(backend, full)
    assert enabled and "No space left on device" in status and "lpt-ui" not in status

    def plan() -> Plan:
        task = Task("talk", backend.jobs.new_folder(), {"options": TalkOptions()})
        return Plan(task, "talk", "Video", lambda suffix: "")

    assert final_status(backend, plan)[0].count("Done") == 1
    monkeypatch.setattr(backend.uploads, "serve_result", lambda *given: (backend.uploads.root / "none").rename("/none"))
    status, enabled = final_status(backend, plan)
    assert enabled and "FileNotFoundError" in status
    assert not any(backend.uploads.jobs.iterdir())


def test_a_missing_upload_is_reported(backend: Backend, tmp_path: Path):
    with pytest.raises(MediaError, match="choose it again"):
        backend.uploads.check_size(tmp_path / "none.png")
    with pytest.raises(MediaError, match="the portrait cannot be read"):
        backend.uploads.link(tmp_path / "none.png", backend.jobs.new_folder(), "the portrait")


@pytest.mark.parametrize("how", ["page closed", "cancelled"])
def test_stop_while_the_task_is_prepared(backend: Backend, how: str):
    started, resume = threading.Event(), threading.Event()

    def make_task() -> Task:
        task = Task("talk", backend.jobs.new_folder(), {"options": TalkOptions()})
        (task.folder / "the portrait").write_bytes(b"private")
        started.set()
        assert resume.wait(10)
        return task

    async def stop_meanwhile() -> None:
        submission = asyncio.ensure_future(backend.submit(make_task, "me", "talk"))
        await asyncio.to_thread(started.wait, 10)
        if how == "page closed":
            submission.cancel()
            with pytest.raises(asyncio.CancelledError):
                await submission
        else:
            backend.jobs.stop_all("me", "edit")  # another tab
            backend.jobs.stop_all("me", "talk")
        resume.set()
        if how == "cancelled":
            assert (await submission).state == STOPPED

    run_in_thread(stop_meanwhile())
    wait_until(lambda: not any(backend.uploads.jobs.iterdir()))


def test_discard_removes_the_result(backend: Backend):
    job = backend.jobs.submit(Task("talk", backend.jobs.new_folder(), {"options": TalkOptions()}), "me")
    wait_until(lambda: job.ended)
    backend.jobs.discard(job)
    assert not any(backend.uploads.jobs.iterdir())


def test_closing_the_watcher_stops_the_job(backend: Backend):
    slow = Jobs(backend.uploads.jobs, long_work)
    try:

        async def watch() -> None:
            job = slow.submit(Task("talk", slow.new_folder(), {"options": TalkOptions()}), "me")
            steps = Backend(backend.uploads, slow, backend.previews).watch(job)
            await anext(steps)
            await steps.aclose()
            assert job.stop_requested

        run_in_thread(watch())
        wait_until(lambda: not any(backend.uploads.jobs.iterdir()))
    finally:
        slow.close()
