"""The page: five tabs on one desk."""

from __future__ import annotations

import gradio as gr

from . import about, animate, api, edit, models, talk
from .desk import Desk
from .look import TITLE

_HEAD = f"<h1>{TITLE}</h1><p>A portrait and a voice go in, a talking video comes out.</p>"
_FOOT = (
    "Everything made here is AI-generated and says so in its metadata. Animate only people who agreed to it. "
    "Your files stay in a private folder of this server and are removed when you leave the page."
)
_FORGET_EVERY_S, _FORGET_AFTER_S = 600, 6 * 3600


def build(desk: Desk) -> gr.Blocks:
    """The whole page."""
    page: gr.Blocks
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(_FORGET_EVERY_S, _FORGET_AFTER_S), fill_width=False
    ) as page:
        gr.HTML(_HEAD, elem_id="lpt-head")
        with gr.Tabs(elem_id="lpt-tabs"):
            with gr.Tab("Talk", id="talk"):
                talk.build(desk)
            with gr.Tab("Animate", id="animate"):
                animate.build(desk)
            with gr.Tab("Edit", id="edit"):
                edit.build(desk)
            with gr.Tab("Models", id="models") as weights:
                table = models.build(desk)
            with gr.Tab("About", id="about") as notes:
                who = about.build()
        gr.HTML(_FOOT, elem_id="lpt-foot")
        api.build(desk)
        weights.select(models.installed, None, table, queue=False, api_visibility="private", show_progress="hidden")
        notes.select(about.who, None, who, queue=False, api_visibility="private", show_progress="hidden")
        page.unload(desk.leave)
    return page
