"""The Talk tab: a talking video from a portrait (or a video) and a voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from ..examples import CLIP, DRAWING, PAINTING, PORTRAIT, VOICE
from . import markup
from .backend import Backend, owner_of
from .inputs import FROM_FILE, FROM_TEXT, VoiceInput, selected_voice, source_input, voice_input
from .result import PRIVATE, TAKES, build_result
from .talk_requests import TALK, TalkRequest
from .talk_settings import TalkSettings

_CROWD = "Face 1 speaks: choose another under “Picture and crop”, or give each its voice in the Speakers tab."
_EXAMPLE_TEXT = "Hello! I am a portrait, and I can say whatever you type."
_EXAMPLES = (
    (PORTRAIT, VOICE, "A photo from the front works best."),
    (PORTRAIT, None, "The voice of a typed text is robotic."),
    (DRAWING, VOICE, "A drawing from the front works; its teeth look photographed."),
    (PAINTING, VOICE, "A painting: lids and mouth look smoother than the strokes."),
    (CLIP, VOICE, "A video gets new speech and keeps the motion of its head."),
)
"""Picture or video, sound or None for the text, what to expect."""


def build(backend: Backend) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            source = source_input(
                "talk", "source", "Portrait, or a video with a face", backend, "the portrait", numbered="in pictures"
            )
            crowd = gr.HTML(visible=False, elem_id="talk-crowd")
            voice = voice_input("talk", backend)
            _build_examples(backend, source.file, voice)
            settings = TalkSettings(backend, "talk", TALK, source.is_still)
        with gr.Column(scale=1, min_width=280, elem_classes="lpt-still"):
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
        components=[
            gr.Image(visible=False, label="Portrait"),
            gr.Textbox(visible=False, label="Voice"),
            gr.Textbox(visible=False, label="What to expect"),
        ],
        headers=["Portrait", "Voice", "What to expect"],
        samples=[
            [str(PORTRAIT if source == CLIP else source), "a recording" if sound else "a typed text", expected]
            for source, sound, expected in _EXAMPLES
        ],
        type="index",
        elem_id="talk-examples",
    )

    def fill(index: int, request: gr.Request) -> list[Any]:
        source, sound, _ = _EXAMPLES[index]
        given = str(backend.uploads.serve_copy(source, owner_of(request)))
        if sound is None:
            return [given, FROM_TEXT, gr.update(), _EXAMPLE_TEXT]
        return [given, FROM_FILE, str(backend.uploads.serve_copy(sound, owner_of(request))), gr.update()]

    filled = [source, voice.kind, voice.file, voice.text]
    gallery.click(fill, gallery, filled, trigger_mode="always_last", **PRIVATE)  # a quick second click counts, too
