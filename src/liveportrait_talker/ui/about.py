"""The About tab: who would draw and why, versions, and how to use this honestly."""

from __future__ import annotations

import platform
from importlib import metadata

import gradio as gr

from .. import __version__
from ..options.talk import TalkOptions
from ..pipelines.engines import Engines
from . import view
from .result import PRIVATE

_HONESTY = """\
### Use it honestly

**Everything made here is AI-generated**, and every video says so in its title and comment: leave it there, and say so
where you show it. Animate only people who agreed to it; by making a video you say that they did.
"""
_MORE = """\
### How fast is it here?

`liveportrait-talker bench PICTURE` times every stage of the embedded renderer; `liveportrait-talker bench --renderer
neural` times the networks. The preview of two seconds is the quickest test of all.

### From a program

The page has an API: see `python -m pydoc liveportrait_talker.ui`. MIT licence; the voice for typed text is eSpeak NG
(GPL-3.0-or-later), an extra of its own.
"""


def build() -> gr.HTML:
    """Draw the tab; returns what is to be filled when the tab is opened."""
    who = gr.HTML("", elem_id="about-who")
    gr.Markdown(_HONESTY)
    gr.Markdown(_MORE)
    check = gr.Button("Check this computer", elem_id="about-check")
    found = gr.Textbox(
        label="What is installed and what can run",
        elem_id="about-doctor",
        lines=12,
        max_lines=40,
        interactive=False,
        visible=False,
        buttons=["copy"],
    )

    def examine() -> object:
        from ..pipelines.doctor import report

        return gr.update(value="\n".join(report()[0]), visible=True)

    check.click(examine, None, found, **PRIVATE)
    return who


def who() -> str:
    """Which renderer and driver would be taken, why, and the versions."""
    drawing = Engines().choose_renderer(TalkOptions())
    speaking = Engines().choose_driver(TalkOptions(), drawing.name)
    rows = [
        ("Renderer", f"{drawing.name}: {drawing.reason}"),
        ("Voice driver", f"{speaking.name}: {speaking.reason}"),
        ("LivePortraitTalker", __version__),
        ("Python", platform.python_version()),
        ("Gradio", metadata.version("gradio")),
    ]
    return view.table(("What", "Which"), rows)
