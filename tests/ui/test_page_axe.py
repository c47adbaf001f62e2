"""axe-core finds no serious barrier on any tab, in light and dark colours."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.ui.server import Server

axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
TABS = ("Talk", "Speakers", "Animate", "Edit", "Live", "Models", "About")
_BARRIERS = """async () => (await axe.run(document, {iframes: false})).violations
  .filter(found => ['serious', 'critical'].includes(found.impact))
  .map(found => [found.id, ...found.nodes.map(node => node.html.slice(0, 120))])"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barrier(fake: Server, browser: Any, scheme: str, artefacts: Path):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{fake.url}?__theme={scheme}")
    page.locator("#talk-run").wait_for()
    page.evaluate((files(axe) / "axe.min.js").read_text())
    found = {}
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(800)
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
        page.wait_for_timeout(300)
        page.screenshot(path=artefacts / f"{tab.lower()}-{scheme}-1280.png", full_page=True)
        found[tab] = page.evaluate(_BARRIERS)
    context.close()
    assert found == {tab: [] for tab in TABS}
