"""Opening the folds of the page as a person does: slowly."""

from __future__ import annotations

from typing import Any

_SETTLED_MS = 500


def open_fold(page: Any, fold: Any) -> None:
    """Open a fold (a locator) that is shut, and wait until its fields keep what is put into them.

    Gradio makes a fold's fields when it first opens, and gives them their start values some 30 ms later.
    """
    if not fold.locator("button.open").count():
        fold.locator("button").first.click()
        page.wait_for_timeout(_SETTLED_MS)
