"""Waiting, stopping and failing, as a user sees them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fakes import broken_work, long_work

from liveportrait_talker.errors import TalkerError
from liveportrait_talker.examples import FOLDER as EXAMPLES
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.ui.jobs import FAILED, STOPPED, Jobs
from liveportrait_talker.ui.server import Server
from liveportrait_talker.ui.worker import Order

SENTENCES = (  # by the seed of `broken_work`
    "This is a mistake that you can mend.",
    "Something went wrong that should not have (ValueError: a defect of ours).",
    "The work broke off",
)


@pytest.fixture(scope="module")
def slow(serve: Any) -> Server:
    server = serve(long_work, max_queue=2)
    server.desk.jobs.warm()
    return server


def ready(page: Any, seed: int = 0) -> None:
    page.locator("#talk-source input[type=file]").set_input_files(EXAMPLES / "portrait.png")
    page.get_by_text("Seen as: picture").wait_for()
    page.locator("#talk-voice input[type=file]").set_input_files(EXAMPLES / "voice.wav")
    page.get_by_text("Heard as: voice").wait_for()
    page.locator("#talk-seed input").fill(str(seed))


def job_files(server: Server) -> list[Path]:
    return [path for path in server.desk.uploads.jobs.rglob("*") if path.is_file()]


@pytest.mark.parametrize("seed", [0, 1], ids=["progress is told", "a stage that tells nothing"])
def test_cancel_stops_within_a_second(slow: Server, visit: Any, seed: int, monkeypatch: pytest.MonkeyPatch):
    """From the moment that the server hears of it: how long a browser takes to click and to look is its own affair."""
    jobs, moments = slow.desk.jobs, {}

    def noted(name: str) -> None:
        real = getattr(jobs, name)

        def call(*given: Any) -> None:
            moments.setdefault(name, time.monotonic())
            real(*given)

        monkeypatch.setattr(jobs, name, call)

    page = visit(slow)
    ready(page, seed)
    page.locator("#talk-run").click()
    page.locator("#talk-status [data-state=running]").wait_for()
    time.sleep(1.5)
    worker = slow.desk.jobs.worker_pid()
    assert worker is not None and job_files(slow)
    if seed == 0:
        page.get_by_text("left").wait_for()  # the time that is left
    noted("stop")
    noted("_finish")
    page.locator("#talk-cancel").click()
    page.get_by_text("Stopped; nothing was kept.").wait_for()
    assert moments["_finish"] - moments["stop"] <= 1.0
    assert not job_files(slow)
    if seed == 1:  # it could not be asked, so its process was ended
        assert not Path(f"/proc/{worker}").exists()
    assert page.locator("#talk-run").is_enabled()


def test_two_users_one_job_at_a_time(slow: Server, visit: Any, artefacts: Path):
    first, second = visit(slow), visit(slow)
    for page in (first, second):
        ready(page)
    first.locator("#talk-run").click()
    first.locator("#talk-status [data-state=running]").wait_for()
    second.locator("#talk-run").click()
    second.get_by_text("Waiting: 1 job is ahead of yours.").wait_for()
    second.screenshot(path=artefacts / "waiting-1280.png", full_page=True)
    first.locator("#talk-cancel").click()
    second.locator("#talk-status [data-state=running]").wait_for()
    second.context.close()  # leaving stops the job
    until = time.monotonic() + 10
    while job_files(slow) and time.monotonic() < until:
        time.sleep(0.2)
    assert not job_files(slow)


def test_what_goes_wrong_is_one_sentence(serve: Any, visit: Any):
    server = serve(broken_work)
    page = visit(server)
    ready(page)
    told = page.locator("#talk-status [role=alert]")
    for seed, sentence in enumerate(SENTENCES):
        page.locator("#talk-seed input").fill(str(seed))
        page.locator("#talk-run").click()
        page.wait_for_function(f"document.querySelector('#talk-status').innerText.startsWith({sentence!r})")
        assert told.count() and "Traceback" not in page.content()
        assert not job_files(server)
        page.locator("#talk-run:enabled").wait_for()


def test_jobs_without_a_page(tmp_path: Path):
    jobs = Jobs(tmp_path, long_work, max_waiting=1)
    try:

        def order() -> Order:
            return Order("talk", jobs.new_folder(), {"options": TalkOptions(seed=1)})

        running = jobs.submit(order(), "a")
        while running.stage != "starting":
            time.sleep(0.01)
        waiting = jobs.submit(order(), "b")
        assert waiting.ahead == 1
        with pytest.raises(TalkerError, match="jobs are waiting already"):
            jobs.submit(order(), "c")
        jobs.stop(waiting)
        assert waiting.state == STOPPED
        began = time.monotonic()
        jobs.stop_all("a")
        while not running.ended:
            time.sleep(0.01)
        assert time.monotonic() - began < 1 and running.state == STOPPED
        assert not any(tmp_path.iterdir())
    finally:
        jobs.close()
    assert jobs.worker_pid() is None


def test_a_worker_that_died_is_replaced(tmp_path: Path):
    jobs = Jobs(tmp_path, broken_work)
    try:
        for seed, state in ((2, FAILED), (1, FAILED)):
            ticket = jobs.submit(Order("talk", jobs.new_folder(), {"options": TalkOptions(seed=seed)}), "a")
            while not ticket.ended:
                time.sleep(0.01)
            assert ticket.state == state
    finally:
        jobs.close()


def test_what_cannot_be_sent_does_not_block_the_next(tmp_path: Path):
    jobs = Jobs(tmp_path, broken_work)
    try:
        for options, words in ((lambda: None, "should not have"), (TalkOptions(), "that you can mend")):
            ticket = jobs.submit(Order("talk", jobs.new_folder(), {"options": options}), "a")
            while not ticket.ended:
                time.sleep(0.01)
            assert ticket.state == FAILED and words in ticket.error
    finally:
        jobs.close()
