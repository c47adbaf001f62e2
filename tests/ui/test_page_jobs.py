"""Waiting, cancelled and failing jobs on the page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fakes import broken_work, fake_work, long_work
from waiting import wait_until

from liveportrait_talker.errors import TalkerError
from liveportrait_talker.examples import FOLDER as EXAMPLES
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.ui.jobs import FAILED, STOPPED, Job, Jobs
from liveportrait_talker.ui.server import Server
from liveportrait_talker.ui.worker import Task

SENTENCES = (  # by the seed of `broken_work`
    "This is an error that you can correct.",
    "Internal error (ValueError: a defect).",
    "The worker process ended",
)


@pytest.fixture(scope="module")
def slow(serve: Any) -> Server:
    server = serve(long_work, max_queue=2)
    server.backend.jobs.start_worker()
    return server


def ready(page: Any, seed: int = 0) -> None:
    page.locator("#talk-source input[type=file]").set_input_files(EXAMPLES / "portrait.png")
    page.get_by_text("Seen as: picture").wait_for()
    page.locator("#talk-voice input[type=file]").set_input_files(EXAMPLES / "voice.wav")
    page.get_by_text("Heard as: voice").wait_for()
    page.locator("#talk-seed input").fill(str(seed))


def job_files(server: Server) -> list[Path]:
    return [path for path in server.backend.uploads.jobs.rglob("*") if path.is_file()]


def test_cancel_stops_within_a_second(slow: Server, visit: Any, monkeypatch: pytest.MonkeyPatch):
    """With reports of progress (seed 0) and without. Timed on the server, without the time that the browser takes."""
    jobs, moments = slow.backend.jobs, {}

    def record(name: str) -> None:
        real = getattr(jobs, name)

        def call(*given: Any) -> None:
            moments.setdefault(name, time.monotonic())
            real(*given)

        monkeypatch.setattr(jobs, name, call)

    page = visit(slow)
    ready(page)
    record("stop")
    record("_finish")
    for seed in (0, 1):
        moments.clear()
        page.locator("#talk-seed input").fill(str(seed))
        page.locator("#talk-run").click()
        page.locator("#talk-status [data-state=running]").wait_for()
        wait_until(lambda: any(path.name.endswith(".part.mp4") for path in job_files(slow)))
        worker = slow.backend.jobs.worker_pid()
        assert worker is not None
        if seed == 0:
            page.get_by_text("left").wait_for()  # the remaining time
        page.locator("#talk-cancel").click()
        page.get_by_text("Stopped; nothing was kept.").wait_for()
        assert moments["_finish"] - moments["stop"] <= 1.0
        assert not job_files(slow)
        if seed == 1:  # the process was killed, as the task reports no progress
            assert not Path(f"/proc/{worker}").exists()
        page.locator("#talk-run:enabled").wait_for()


def test_one_job_runs_at_a_time(slow: Server, visit: Any, artefacts: Path):
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
    second.close()  # closing the page stops the job
    wait_until(lambda: not job_files(slow))


def test_errors_are_shown_in_one_sentence(serve: Any, visit: Any):
    server = serve(broken_work)
    page = visit(server)
    ready(page)
    alert = page.locator("#talk-status [role=alert]")
    for seed, sentence in enumerate(SENTENCES):
        page.locator("#talk-seed input").fill(str(seed))
        page.locator("#talk-run").click()
        page.wait_for_function(f"document.querySelector('#talk-status').innerText.startsWith({sentence!r})")
        assert alert.count() and "Traceback" not in page.content()
        assert not job_files(server)
        page.locator("#talk-run:enabled").wait_for()


def test_jobs_without_a_page(tmp_path: Path):
    jobs = Jobs(tmp_path, long_work, max_waiting=1)
    try:

        def task() -> Task:
            return Task("talk", jobs.new_folder(), {"options": TalkOptions(seed=1)})

        running = jobs.submit(task(), "a")
        while running.stage != "starting":
            time.sleep(0.01)
        waiting = jobs.submit(task(), "b")
        assert waiting.ahead == 1
        with pytest.raises(TalkerError, match="jobs are waiting already"):
            jobs.submit(task(), "c")
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


def test_a_dead_worker_is_replaced(tmp_path: Path):
    jobs = Jobs(tmp_path, broken_work)
    try:
        for seed, state in ((2, FAILED), (1, FAILED)):
            job = jobs.submit(Task("talk", jobs.new_folder(), {"options": TalkOptions(seed=seed)}), "a")
            while not job.ended:
                time.sleep(0.01)
            assert job.state == state
    finally:
        jobs.close()


def test_a_task_that_cannot_be_pickled_does_not_block_the_next(tmp_path: Path):
    jobs = Jobs(tmp_path, broken_work)
    try:
        for options, words in ((lambda: None, "internal error"), (TalkOptions(), "that you can correct")):
            job = jobs.submit(Task("talk", jobs.new_folder(), {"options": options}), "a")
            while not job.ended:
                time.sleep(0.01)
            assert job.state == FAILED and words in job.error
    finally:
        jobs.close()


def test_a_job_that_finishes_while_it_is_stopped_is_not_kept(tmp_path: Path):
    jobs = Jobs(tmp_path, fake_work)
    try:
        job = Job("me", Task("talk", jobs.new_folder(), {}))
        job.stop_requested = True
        jobs._handle(job, "done", {"output": "result.mp4"})
        assert job.state == STOPPED and not job.result and not any(tmp_path.iterdir())
    finally:
        jobs.close()


def test_a_job_has_a_time_limit(tmp_path: Path):
    jobs = Jobs(tmp_path, long_work, max_seconds=1)
    try:
        job = jobs.submit(Task("talk", jobs.new_folder(), {"options": TalkOptions(seed=1)}), "me")
        end = time.monotonic() + 20
        while not job.ended:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert job.state == FAILED
        assert "the limit of this server" in job.error
        assert not job.task.folder.exists()
    finally:
        jobs.close()
