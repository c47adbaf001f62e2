"""The Live tab in a real browser."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.ui import live
from liveportrait_talker.ui.server import Server


@pytest.mark.skipif(not live.is_installed(), reason="the extra live is not installed")
def test_a_call_in_the_tab(visit: Callable[..., Any], fake: Server, artefacts: Path):
    page = visit(fake)
    page.get_by_role("tab", name="Live").click()
    frame = page.frame_locator("iframe.lpt-live")
    frame.locator("#face").wait_for()
    frame.locator("#portrait").set_input_files(PORTRAIT)
    frame.get_by_role("button", name="Start").click()
    frame.locator("#state[data-state=idle]").wait_for(timeout=60_000)
    for width, height in ((1280, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=artefacts / f"live-tab-{width}.png", full_page=True)
    page.close()
    for _ in range(200):
        if not [thread for thread in threading.enumerate() if thread.name == "lpt-live"]:
            return
        threading.Event().wait(0.3)
    raise AssertionError("a session goes on without its page")


@pytest.mark.skipif(not live.is_installed(), reason="the extra live is not installed")
def test_the_tab_is_behind_the_access_checks(serve: Callable[..., Server]):
    server = serve(auth=[("maria", "secret")])

    def status(path: str, **headers: str) -> int:
        try:
            return int(urllib.request.urlopen(urllib.request.Request(server.url + path, None, headers)).status)
        except urllib.error.HTTPError as error:
            return error.code

    login = {"Authorization": "Basic bWFyaWE6c2VjcmV0"}
    assert status("live/") == 401
    assert status("live/", **login) == 200
    assert status("live/", Host="evil.example", **login) == 421
    assert status("live/", Origin="https://evil.example", **login) == 403
    assert status("live/../upload", **login) == 404


def test_operators_can_leave_the_tab_out(visit: Callable[..., Any], serve: Callable[..., Server]):
    server = serve(live_sessions=0)
    assert not visit(server).get_by_role("tab", name="Live").count()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.url}live/")


def test_without_the_extra_the_tab_names_it(
    visit: Callable[..., Any], serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "find_spec", lambda name: None)
    page = visit(serve())
    page.get_by_role("tab", name="Live").click()
    page.get_by_text("pip install 'liveportrait-talker[live]'").wait_for()
    assert not page.locator("iframe").count()
