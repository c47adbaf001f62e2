"""Says why the page is not tested, where it is not."""

from __future__ import annotations

import pytest


def test_the_page_is_tested():
    pytest.importorskip("gradio", reason="the extra `ui` is not installed: the page is not tested")
