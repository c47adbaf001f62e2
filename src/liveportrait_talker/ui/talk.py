"""The Talk tab: a talking video from a portrait (or a video) and a voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from ..examples import PORTRAIT, VOICE
from . import markup
from .backend import Backend, owner_of
from .inputs import FROM_FILE, FROM_TEXT, VoiceInput, selected_voice, source_input, voice_input
from .result import PRIVATE, TAKES, build_result
from .talk_requests import TALK, TalkRequest
from .talk_settings import TalkSettings

_CROWD = "Face 1 speaks: choose another under “Picture and crop”, or give each its voice in the Speakers tab."
_EXAMPLE_TEXT = "Hello! I am a portrait, and I can say whatever you type."


def build(backend: Backend) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320):
            source = source_input(
                "talk", "source", "Portrait, or a video with a face", backend, "the portrait", numbered="in pictures"
            )
            crowd = gr.HTML(visible=False, elem_id="talk-crowd")
            voice = voice_input("talk", backend)
            _build_examples(backend, source.file, voice)
            settings = TalkSettings(backend, "talk", TALK, source.is_still)
        with gr.Column(scale=1, min_width=320, elem_classes="lpt-still"):
            out = build_result("talk", backend, TAKES, "Choose a portrait and a voice, then Generate.")

    def check(preview: bool, is_still: bool, values: Sequence[Any], options: Mapping[str, Any]) -> TalkRequest:
        path, *voice_values = values
        parsed = settings.parse(options, is_still=is_still)
        return TalkRequest.check(path, options=parsed, preview=preview, **selected_voice(*voice_values))

    source.faces.change(
        lambda places: gr.update(value=markup.remark(_CROWD), visible=len(places) > 1),
        source.faces,
        crowd,
        queue=False,
        **PRIVATE,
    )
    settings.connect_buttons(backend, out, source.is_still, [source.file, *voice.components], check, name="talk")


def _build_examples(backend: Backend, source: gr.File, voice: VoiceInput) -> None:
    """Build a gallery of examples; a click fills the tab."""
    gallery = gr.Dataset(
        label="Examples",
        components=[gr.Image(visible=False, label="Portrait"), gr.Textbox(visible=False, label="Voice")],
        headers=["Portrait", "Voice"],
        samples=[[str(PORTRAIT), "a recorded voice"], [str(PORTRAIT), "a typed text"]],
        type="index",
        elem_id="talk-examples",
    )

    def fill(index: int, request: gr.Request) -> list[Any]:
        picture = backend.uploads.serve_copy(PORTRAIT, owner_of(request))
        if index == 1:
            return [str(picture), FROM_TEXT, gr.update(), _EXAMPLE_TEXT]
        return [str(picture), FROM_FILE, str(backend.uploads.serve_copy(VOICE, owner_of(request))), gr.update()]

    gallery.click(fill, gallery, [source, voice.kind, voice.file, voice.text], **PRIVATE)
