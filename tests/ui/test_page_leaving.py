"""What is left behind when a user, or a client, goes away; and what the page does where the disk fails."""

from __future__ import annotations

import asyncio
import json
import os
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
from fakes import fake_work, long_work
from folds import open_fold

from liveportrait_talker.errors import MediaError
from liveportrait_talker.examples import FOLDER as EXAMPLES
from liveportrait_talker.motion.face_measurements import FaceMeasurements
from liveportrait_talker.motion.template import Template, save_template
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.ui import uploads
from liveportrait_talker.ui.desk import Desk
from liveportrait_talker.ui.jobs import STOPPED, Jobs
from liveportrait_talker.ui.result import Plan, follow, result
from liveportrait_talker.ui.server import Server
from liveportrait_talker.ui.worker import Order


def template(path: Path) -> Path:
    one = [np.zeros((1, n)) for n in (3, 2)]
    seen = FaceMeasurements(25.0, one[0], one[1], np.ones(1), one[1] + 0.3, one[1], np.zeros((1, 4)), one[1])
    save_template(Template(None, seen), path)
    return path


def in_a_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: Playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result(60)


def until(true: Callable[[], Any], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_everything_that_came_in_goes_with_the_page(
    fake: Server, visit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uploads, "_GRACE_S", 0.0)
    served = fake.desk.uploads.served
    (tmp_path / "frames.json").write_text(json.dumps([{"time": 0, "smile": 0}]))
    (tmp_path / "weights.safetensors").write_bytes(b"weights")

    def files() -> set[str]:
        found = [Path(folder, name) for folder, _, names in os.walk(served) for name in names]
        return {path.name for path in found if path.parent != served}  # Gradio leaves empty ones in it

    def put(field: str, file: Path) -> None:
        page.locator(f"#{field} input[type=file]").set_input_files(file)

    before = files()
    page = visit(fake)
    page.get_by_label("Microphone").check()
    page.locator("#talk-microphone").get_by_role("button", name="Record").click()
    time.sleep(1)
    page.locator("#talk-microphone").get_by_role("button", name="Stop").first.click()
    open_fold(page, page.locator("#talk-group-eyes"))
    put("talk-ref_blink", EXAMPLES / "voice.wav")
    page.get_by_role("tab", name="Animate").click()
    put("animate-driving", template(tmp_path / "motion.npz"))
    page.get_by_text("Seen as: motion template").wait_for()
    page.get_by_role("tab", name="Edit").click()
    open_fold(page, page.locator("#edit-group-expression, #edit-group-copy-an-expression").first)
    put("edit-sample", EXAMPLES / "portrait.png")
    put("edit-keyframes", tmp_path / "frames.json")
    put("edit-portrait", EXAMPLES / "portrait.png")
    page.locator("#edit-live img").wait_for()
    wanted = {"voice.wav", "motion.npz", "portrait.png", "frames.json", "live.jpg"}
    until(lambda: wanted <= files() and len(files() - before - wanted) >= 1)  # the recording has a name of its own
    page.wait_for_timeout(500)
    page.context.close()
    until(lambda: files() <= before)


@pytest.fixture
def desk() -> Iterator[Desk]:
    kept = uploads.Uploads(max_mb=10, max_seconds=10)
    made = Desk(kept, Jobs(kept.jobs, fake_work))
    yield made
    made.jobs.close()
    kept.close()


def told(desk: Desk, plan: Callable[[], Plan]) -> tuple[str, bool]:
    """The last status, and whether the buttons can be pressed again."""
    with gr.Blocks():
        at = result("talk", desk, [("run", "Generate")], "hint")

    async def all_of_it() -> list[dict[Any, Any]]:
        request: Any = SimpleNamespace(session_hash="me")
        return [updates async for updates in follow(desk, request, at, plan, [])]

    last = in_a_loop(all_of_it())[-1]
    return last[at.status], last[at.buttons[0]]["interactive"] and not last[at.cancel]["interactive"]


def test_a_failing_disk_is_a_sentence(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def full() -> Plan:
        raise OSError(28, "No space left on device", str(desk.uploads.jobs / "abc" / "the portrait"))

    status, free = told(desk, full)
    assert free and "No space left on device" in status and "lpt-ui" not in status

    def plan() -> Plan:
        order = Order("talk", desk.jobs.new_folder(), {"options": TalkOptions()})
        return Plan(order, "talk", "Video", lambda suffix: "")

    assert told(desk, plan)[0].count("Done") == 1
    monkeypatch.setattr(desk.uploads, "keep", lambda *given: (desk.uploads.root / "none").rename("/none"))
    status, free = told(desk, plan)
    assert free and "FileNotFoundError" in status
    assert not any(desk.uploads.jobs.iterdir())


def test_an_upload_that_is_gone_is_a_sentence(desk: Desk, tmp_path: Path):
    with pytest.raises(MediaError, match="choose it again"):
        desk.uploads.check_size(tmp_path / "none.png")
    with pytest.raises(MediaError, match="the portrait cannot be read"):
        desk.uploads.lend(tmp_path / "none.png", desk.jobs.new_folder(), "the portrait")


@pytest.mark.parametrize("how", ["leaves", "cancels"])
def test_who_goes_while_the_order_is_put_together(desk: Desk, how: str):
    begun, go_on = threading.Event(), threading.Event()

    def ordered() -> Order:
        order = Order("talk", desk.jobs.new_folder(), {"options": TalkOptions()})
        (order.folder / "the portrait").write_bytes(b"private")
        begun.set()
        assert go_on.wait(10)
        return order

    async def meanwhile() -> None:
        waits = asyncio.ensure_future(desk.hand_in(ordered, "me", "talk"))
        await asyncio.to_thread(begun.wait, 10)
        if how == "leaves":
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
        else:
            desk.jobs.stop_all("me", "edit")  # that is another tab's
            desk.jobs.stop_all("me", "talk")
        go_on.set()
        if how == "cancels":
            assert (await waits).state == STOPPED

    in_a_loop(meanwhile())
    until(lambda: not any(desk.uploads.jobs.iterdir()))


def test_what_is_made_for_nobody_is_removed(desk: Desk):
    ticket = desk.jobs.submit(Order("talk", desk.jobs.new_folder(), {"options": TalkOptions()}), "me")
    until(lambda: ticket.ended)
    desk.jobs.abandon(ticket)
    assert not any(desk.uploads.jobs.iterdir())


def test_a_follower_that_is_closed_stops_its_job(desk: Desk):
    slow = Jobs(desk.uploads.jobs, long_work)
    try:

        async def watch() -> None:
            ticket = slow.submit(Order("talk", slow.new_folder(), {"options": TalkOptions()}), "me")
            steps = Desk(desk.uploads, slow).follow(ticket)
            await anext(steps)
            await steps.aclose()
            assert ticket.stop_asked

        in_a_loop(watch())
        until(lambda: not any(desk.uploads.jobs.iterdir()))
    finally:
        slow.close()
