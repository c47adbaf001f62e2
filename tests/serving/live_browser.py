"""The live page, served, in the system's Chromium."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from liveportrait_talker import LiveOptions
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.serving.access import Access, Hosts
from liveportrait_talker.serving.connections import ConnectionLimits, PageServer, bind, page_address
from liveportrait_talker.serving.live_page import LivePage
from liveportrait_talker.serving.webrtc import Calls

OPTIONS = LiveOptions(renderer="embedded", max_size=256, still=True, breath=False, blink=False, gaze="still")


@contextmanager
def serving(most_sessions: int = 2, options: LiveOptions = OPTIONS):
    calls = Calls(PORTRAIT, options, most_sessions=most_sessions)
    sockets = bind("127.0.0.1", 0)
    server = PageServer(Access(LivePage(calls), Hosts("127.0.0.1")), sockets, ConnectionLimits())
    server.start()
    try:
        yield page_address(sockets, "127.0.0.1")
    finally:
        server.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "lpt-live"]


def start(page) -> None:
    page.click("#start")
    page.wait_for_selector("#interrupt:enabled")
    page.wait_for_selector("#state[data-state=idle]")
    for _ in range(100):
        if page.evaluate("document.getElementById('face').videoWidth"):
            return
        page.wait_for_timeout(100)
    raise AssertionError("no picture comes")
