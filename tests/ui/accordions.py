"""Opening accordions of the page."""

from __future__ import annotations

from typing import Any

_SETTLED_MS = 500


def open_accordions(page: Any, *accordions: Any) -> None:
    """Open those accordions (locators) that are closed, and wait until their fields keep the values they are given.

    Gradio creates the fields of an accordion when it first opens, and sets their values some 30 ms later.
    """
    closed = [accordion for accordion in accordions if not accordion.locator("button.open").count()]
    for accordion in closed:
        accordion.locator("button").first.click()
    if closed:
        page.wait_for_timeout(_SETTLED_MS)
