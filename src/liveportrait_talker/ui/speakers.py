"""The Speakers tab: a picture or a video with several faces, each of which has its own voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..examples import PAIR, VOICE
from . import markup
from .backend import Backend, owner_of
from .inputs import FROM_FILE, VoiceInput, selected_voice, source_input, voice_input
from .result import PRIVATE, TAKES, build_result
from .talk_requests import SPEAKERS, SpeakersRequest
from .talk_settings import TalkSettings

SLOTS = 4
"""Faces that can be given a voice here."""
_HINT = (
    "Each face that is found can be given a voice. A face without one listens: its lips stay closed, and in a picture "
    "it looks at who speaks."
)
_EXAMPLE_STARTS_S = (0.0, 7.5)  # the first has spoken when the second begins
_MORE = f" The first {SLOTS} can be given a voice here, all of them on the command line."


def build(backend: Backend) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            source = source_input(
                "speakers", "source", "Picture or video with several faces", backend, "the picture", numbered="always"
            )
            hint = gr.HTML(markup.remark(_HINT), elem_id="speakers-hint")
            slots = [_build_slot(face, backend) for face in range(1, SLOTS + 1)]
            _build_example(backend, source.file, slots)
            settings = TalkSettings(backend, "speakers", SPEAKERS, source.is_still)
        with gr.Column(scale=1, min_width=280, elem_classes="lpt-still"):
            text = "Choose a picture or a video, give its faces voices, then Generate."
            out = build_result("speakers", backend, TAKES, text)

    def show_slots(places: tuple[str | None, ...]) -> list[Any]:
        titles = [f"Face {face}{f' ({place})' if place else ''}" for face, place in enumerate(places[:SLOTS], 1)]
        shown = [gr.update(visible=True, label=title) for title in titles]
        text = _HINT + (_MORE if len(places) > SLOTS else "")
        return [markup.remark(text), *shown, *[gr.update(visible=False)] * (SLOTS - len(shown))]

    def check(preview: bool, is_still: bool, values: Sequence[Any], options: Mapping[str, Any]) -> SpeakersRequest:
        path, places, *given = values
        voices = {}
        for slot in range(min(SLOTS, len(places))):
            *voice, start = given[per_slot * slot : per_slot * (slot + 1)]
            voices[slot + 1] = selected_voice(*voice) | {"start_seconds": start}
        return SpeakersRequest.check(path, voices, settings.parse(options, is_still=is_still), preview=preview)

    of_slots = [component for _, voice, start in slots for component in (*voice.components, start)]
    per_slot = len(of_slots) // SLOTS
    inputs = [source.file, source.faces, *of_slots]
    settings.connect_buttons(backend, out, source.is_still, inputs, check, name="dialogue")
    groups = [group for group, _, _ in slots]
    source.faces.change(show_slots, source.faces, [hint, *groups], queue=False, **PRIVATE)


def _build_example(
    backend: Backend, source: gr.File, slots: Sequence[tuple[gr.Accordion, VoiceInput, gr.Number]]
) -> None:
    """Build an example; a click fills the tab."""
    example = gr.Dataset(
        label="Example",
        components=[gr.Image(visible=False, label="Picture"), gr.Textbox(visible=False, label="Voices")],
        headers=["Picture", "Voices"],
        samples=[[str(PAIR), "one recording, said by one face after the other"]],
        elem_id="speakers-example",
    )

    def fill(request: gr.Request) -> list[Any]:
        def served(path: Path) -> str:
            return str(backend.uploads.serve_copy(path, owner_of(request)))

        voices = [[FROM_FILE, served(VOICE), start] for start in _EXAMPLE_STARTS_S]
        return [served(PAIR), *(value for voice in voices for value in voice)]

    filled = [[voice.kind, voice.file, start] for _, voice, start in slots[: len(_EXAMPLE_STARTS_S)]]
    example.click(fill, None, [source, *(widget for slot in filled for widget in slot)], **PRIVATE)


def _build_slot(face: int, backend: Backend) -> tuple[gr.Accordion, VoiceInput, gr.Number]:
    """Build the widgets of the voice of one face, which are shown when it has been found."""
    with gr.Accordion(f"Face {face}", open=True, visible=False, elem_id=f"speakers-{face}") as group:
        voice = voice_input(f"speakers-{face}", backend, of=f"Face {face}: ")
        start = gr.Number(
            value=0,
            label=f"Face {face}: Starts at (seconds)",
            info="When the voice begins in the video.",
            elem_id=f"speakers-{face}-start",
        )
    return group, voice, start
