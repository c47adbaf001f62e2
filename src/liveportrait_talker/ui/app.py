"""The page with its tabs."""

from __future__ import annotations

import gradio as gr

from . import about, animate, api, edit, live, models, speakers, talk
from .backend import Backend
from .result import PRIVATE
from .theme import TITLE

_HEAD = f"<h1>{TITLE}</h1><p>A portrait and a voice go in, a talking video comes out.</p>"
_FOOT = (
    "Everything made here is AI-generated and says so in its metadata. Animate only people who agreed to it. "
    "Your files stay in a private folder of this server and are removed when you leave the page."
)
_CACHE_CHECK_S, _CACHE_AGE_S = 600, 6 * 3600  # Gradio removes older files


def build(backend: Backend, *, downloads: bool = True, has_live: bool = True) -> gr.Blocks:
    """Build the page.

    Without `downloads`, weights cannot be downloaded nor the computer be checked; without `has_live` there is no Live
    tab.
    """
    page: gr.Blocks
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(_CACHE_CHECK_S, _CACHE_AGE_S), fill_width=False
    ) as page:
        gr.HTML(_HEAD, elem_id="lpt-head")
        with gr.Tabs(elem_id="lpt-tabs"):
            with gr.Tab("Talk", id="talk"):
                talk.build(backend)
            with gr.Tab("Speakers", id="speakers"):
                speakers.build(backend)
            with gr.Tab("Animate", id="animate"):
                animate.build(backend)
            with gr.Tab("Edit", id="edit") as edit_tab:
                edit.build(backend)
            if has_live:
                with gr.Tab("Live", id="live"):
                    live.build()
            with gr.Tab("Models", id="models") as models_tab:
                weights = models.build(backend, downloads=downloads)
            with gr.Tab("About", id="about") as about_tab:
                versions = about.build(check=downloads)
        gr.HTML(_FOOT, elem_id="lpt-foot")
        api.build(backend)
        edit_tab.select(backend.previews.prepare, None, None, queue=False, **PRIVATE)
        models_tab.select(models.installed_table, None, weights, queue=False, **PRIVATE)
        about_tab.select(about.versions_table, None, versions, queue=False, **PRIVATE)
        page.unload(backend.end_session)
    return page
