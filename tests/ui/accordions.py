"""Opening an accordion of the page."""

from __future__ import annotations

from typing import Any

_SETTLED_MS = 500


def open_accordion(page: Any, accordion: Any) -> None:
    """Open an accordion (a locator) if it is closed, and wait until its fields keep the values they are given.

    Gradio creates the fields of an accordion when it first opens, and sets their values some 30 ms later.
    """
    if not accordion.locator("button.open").count():
        accordion.locator("button").first.click()
        page.wait_for_timeout(_SETTLED_MS)
