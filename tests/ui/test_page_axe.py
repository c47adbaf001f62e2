"""axe-core finds no serious barrier on any tab, on a desktop and on a phone, in light and dark colours."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.ui import live
from liveportrait_talker.ui.server import Server

axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
TABS = ("Talk", "Speakers", "Animate", "Edit", "Live", "Models", "About")
SIZES = ((1280, 900), (390, 844))
_BARRIERS = """async () => (await axe.run(document, {iframes: false, resultTypes: ['violations']})).violations
  .filter(found => ['serious', 'critical'].includes(found.impact))
  .map(found => [found.id, ...found.nodes.map(node => node.html.slice(0, 120))])"""
_STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"


def fill(page: Any, tab: str) -> None:
    """Open a tab and give it its files."""
    page.get_by_role("tab", name=tab).click()
    if tab in ("Talk", "Speakers"):
        page.locator(f"#{tab.lower()}-source input[type=file]").set_input_files(PORTRAIT)
        page.locator(f"#{tab.lower()}-source-poster img").wait_for()
    if tab == "Talk":
        page.locator("#talk-voice input[type=file]").set_input_files(VOICE)
        page.locator("#talk-voice-player").get_by_text("Heard as: voice").wait_for()
    if tab == "Speakers":
        page.locator("#speakers-1-kind").wait_for()
    if tab == "Edit":
        page.locator("#edit-portrait input[type=file]").set_input_files(PORTRAIT)
        page.locator("#edit-live img").wait_for()
    if tab == "Live" and live.is_installed():
        page.frame_locator("iframe.lpt-live").locator("#start").wait_for()
    page.wait_for_timeout(500)


def test_no_serious_barrier(fake: Server, visit: Callable[..., Any], artefacts: Path):
    page = visit(fake)
    page.set_default_timeout(30_000)
    page.add_style_tag(content=_STILL)  # colours in the middle of a change would be judged
    script = (files(axe) / "axe.min.js").read_text()
    page.evaluate(script)
    found = {}
    for tab in TABS:
        fill(page, tab)
        frames = [page.main_frame]
        if tab == "Live" and live.is_installed():
            frames.append(next(frame for frame in page.frames if frame.url.endswith("/live/")))
            frames[1].evaluate(script)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.wait_for_function("dark => document.body.classList.contains('dark') == dark", arg=scheme == "dark")
                page.screenshot(path=artefacts / f"{tab.lower()}-{scheme}-{width}.png", full_page=True)
                found[tab, width, scheme] = [each for frame in frames for each in frame.evaluate(_BARRIERS)]
    page.emulate_media(color_scheme="null")
    assert not {case: barriers for case, barriers in found.items() if barriers}
    assert len(found) == len(TABS) * len(SIZES) * 2
