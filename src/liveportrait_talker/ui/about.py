"""The About tab: the selected renderer and driver, versions, and terms of use."""

from __future__ import annotations

import platform
from importlib import metadata

import gradio as gr

from .. import __version__
from ..options.talk import TalkOptions
from ..pipelines.engines import Engines
from . import markup
from .folders import hide_folders
from .result import PRIVATE

_TERMS = """\
### Use it honestly

**Everything made here is AI-generated**, and every video says so in its title and comment: leave it there, and say so
where you show it. Animate only people who agreed to it; by making a video you confirm that they did.
"""
_MORE = """\
### Speed

`liveportrait-talker bench PICTURE` times every stage of the embedded renderer; `liveportrait-talker bench --renderer
neural` times the networks. For a quick test, make a preview of two seconds.

### API

The page has an API: see `python -m pydoc liveportrait_talker.ui`. MIT licence; the voice for typed text is eSpeak NG
(GPL-3.0-or-later), an optional extra.
"""


def build(*, check: bool) -> gr.HTML:
    """Build the tab; returns the table of versions, which is filled when the tab is opened.

    `check` adds the check of the computer.
    """
    versions = gr.HTML("", elem_id="about-versions")
    gr.Markdown(_TERMS)
    gr.Markdown(_MORE)
    if check:
        _build_check()
    return versions


def _build_check() -> None:
    start = gr.Button("Check this computer", elem_id="about-check")
    output = gr.Textbox(
        label="What is installed and what can run",
        elem_id="about-doctor",
        lines=12,
        max_lines=40,
        interactive=False,
        visible=False,
        buttons=["copy"],
    )

    def run_doctor() -> object:
        from ..pipelines.doctor import report

        return gr.update(value=hide_folders("\n".join(report()[0])), visible=True)

    start.click(run_doctor, None, output, **PRIVATE)


def versions_table() -> str:
    """Return the default renderer and driver with the reasons, and the versions, as HTML."""
    renderer = Engines().choose_renderer(TalkOptions())
    driver = Engines().choose_driver(TalkOptions(), renderer.name)
    rows = [
        ("Renderer", f"{renderer.name}: {renderer.reason}"),
        ("Voice driver", f"{driver.name}: {driver.reason}"),
        ("LivePortraitTalker", __version__),
        ("Python", platform.python_version()),
        ("Gradio", metadata.version("gradio")),
    ]
    return markup.table(("Component", "In use"), rows)
