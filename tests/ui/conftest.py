"""Fixtures: a running page, a browser, and a folder for screenshots."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fakes import fake_work

from liveportrait_talker.ui.server import Server, Settings
from liveportrait_talker.ui.worker import RunTask

collect_ignore_glob = [] if find_spec("gradio") else ["test_page_*.py"]


@pytest.fixture(scope="module")
def browser(launch_chromium: Callable[..., Any]) -> Iterator[Any]:
    """The system's Chromium."""
    running = launch_chromium("--disable-quic", "--disable-component-update", "--disable-sync")
    yield running
    running.close()


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers and close them after the module; if there are several, the last one receives uploads.

    Starting one takes a second.
    """
    servers: list[Server] = []

    def start(run_task: RunTask | None = None, **settings: Any) -> Server:
        extra = {} if run_task is None else {"run_task": run_task}
        servers.append(Server(Settings(**settings), **extra))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
        assert not server.backend.uploads.root.exists()


@pytest.fixture(scope="module")
def fake(serve: Callable[..., Server]) -> Server:
    """A page whose jobs end at once."""
    return serve(fake_work)


@pytest.fixture(scope="module")
def browser_tabs(browser: Any) -> Iterator[Any]:
    """A browser context, whose tabs are kept: one that has shown the page before loads it in half the time."""
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def visit(browser_tabs: Any) -> Iterator[Callable[..., Any]]:
    """Open a page as a new user: each load is a session of its own, which ends with the test."""
    opened: list[Any] = []

    def open_page(server: Server, width: int = 1280, height: int = 900) -> Any:
        page = next((tab for tab in browser_tabs.pages if tab not in opened), None) or browser_tabs.new_page()
        opened.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.goto(server.url)
        page.locator("#talk-run").wait_for()
        return page

    yield open_page
    browser_tabs.clear_cookies()
    for page in opened:
        if not page.is_closed():
            page.evaluate("localStorage.clear(), sessionStorage.clear()")
            page.emulate_media(color_scheme="null")
            page.set_default_timeout(20_000)
            page.goto("about:blank")


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for screenshots: $LPT_ARTIFACTS, or pytest's temporary folder."""
    named = os.environ.get("LPT_ARTIFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("page")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
