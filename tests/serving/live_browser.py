"""The live page, served, in the system's Chromium."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from liveportrait_talker import LiveOptions
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.serving.access import Access, Hosts
from liveportrait_talker.serving.connections import ConnectionLimits, PageServer, bind, page_address
from liveportrait_talker.serving.live_page import LivePage
from liveportrait_talker.serving.webrtc import Calls

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
OPTIONS = LiveOptions(renderer="embedded", max_size=256, still=True, breath=False, blink=False, gaze="still")


@contextmanager
def serving(most_sessions: int = 2):
    calls = Calls(PORTRAIT, OPTIONS, most_sessions=most_sessions)
    sockets = bind("127.0.0.1", 0)
    server = PageServer(Access(LivePage(calls), Hosts("127.0.0.1")), sockets, ConnectionLimits())
    server.start()
    try:
        yield page_address(sockets, "127.0.0.1")
    finally:
        server.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "lpt-live"]


@contextmanager
def running_browser(*flags):
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=[*FLAGS, *flags])
        yield running
        running.close()


def start(page) -> None:
    page.click("#start")
    page.wait_for_selector("#interrupt:enabled")
    page.wait_for_selector("#state[data-state=idle]")
    for _ in range(100):
        if page.evaluate("document.getElementById('face').videoWidth"):
            return
        page.wait_for_timeout(100)
    raise AssertionError("no picture comes")
