"""Input widgets: a picture or video with a preview, and a voice from a file, the microphone or a text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from ..audio import speech
from ..errors import TalkerError
from ..options.animate import is_template_name
from . import markup
from .backend import Backend, owner_of
from .fields import uploaded
from .result import PRIVATE
from .uploads import FACES_S

FROM_FILE, FROM_MICROPHONE, FROM_TEXT = "File", "Microphone", "Text"


@dataclass(frozen=True)
class SourceInput:
    """An upload, whether it is a still image (True without an upload), and the places of its faces, if asked for."""

    file: gr.File
    is_still: gr.State
    faces: gr.State
    """Tuple of left, middle, right or None (between them) for each face."""


@dataclass(frozen=True)
class VoiceInput:
    """The kind of voice input, and the widgets of each kind."""

    kind: gr.Radio
    file: gr.File
    microphone: gr.Audio
    text: gr.Textbox
    language: gr.Dropdown
    pace: gr.Slider

    @property
    def components(self) -> list[Any]:
        """The widgets, in the order of the parameters of `selected_voice`."""
        return [self.kind, self.file, self.microphone, self.text, self.language, self.pace]


def source_input(
    prefix: str,
    name: str,
    label: str,
    backend: Backend,
    role: str,
    *,
    poster: bool = True,
    templates: bool = False,
    numbered: Literal["never", "in pictures", "always"] = "never",
) -> SourceInput:
    """Build an upload for a picture or a video, which is checked when it arrives.

    Args:
        prefix, name: parts of the elem_id.
        label: label of the upload.
        backend: the server's state.
        role: name in messages: “the portrait”.
        poster: whether to show the first frame.
        templates: whether motion templates are accepted as well.
        numbered: when the faces are found, and numbered in the poster.
    """
    file = gr.File(label=label, elem_id=f"{prefix}-{name}", height=168)
    note = gr.HTML("", elem_id=f"{prefix}-{name}-note", visible=False)
    first = gr.Image(
        elem_id=f"{prefix}-{name}-poster",
        interactive=False,
        height=200 if numbered == "never" else 280,
        visible=False,
        buttons=[],
    )
    is_still, faces = gr.State(True), gr.State(())
    uploads = backend.uploads

    def inspect(given: str | None, request: gr.Request) -> Iterator[list[Any]]:
        no_poster = gr.update(value=None, visible=False)
        if not given:
            yield [gr.update(visible=False), no_poster, True, ()]
            return
        backend.jobs.start_worker()
        path, owner = Path(given), owner_of(request)
        try:
            if templates and is_template_name(path):
                yield [_seen_as(uploads.inspect_template(path, owner)), no_poster, False, ()]
                return
            info = uploads.inspect_source(path, owner, role)
        except TalkerError as error:
            yield [gr.update(value=markup.error(str(error)), visible=True), no_poster, True, ()]
            return
        if not poster:
            yield [_seen_as(info.summary), no_poster, info.is_still, ()]
            return
        shown = gr.update(value=str(info.poster), visible=True, label=f"Seen as: {info.summary}")
        if numbered == "never" or (numbered == "in pictures" and not info.is_still):
            yield [gr.update(visible=False), shown, info.is_still, ()]
            return
        yield [gr.update(value=markup.notice("looking for faces."), visible=True), shown, info.is_still, ()]
        try:
            found = uploads.number_faces(path, owner, role)
        except TalkerError as error:
            yield [gr.update(value=markup.error(str(error)), visible=True), gr.skip(), gr.skip(), ()]
            return
        text = _count_faces(len(found.places), info.is_still)
        yield [gr.update(value=markup.remark(text)), str(found.picture), gr.skip(), found.places]

    file.change(inspect, file, [note, first, is_still, faces], concurrency_limit=None, **PRIVATE)
    return SourceInput(file, is_still, faces)


def _count_faces(count: int, is_still: bool) -> str:
    where = "" if is_still else f" in the first {FACES_S:g} seconds"
    return f"One face{where}." if count == 1 else f"{count} faces{where}, numbered in the picture."


def voice_input(prefix: str, backend: Backend, *, of: str = "") -> VoiceInput:
    """Build the widgets for a voice from a file, the microphone or a text; `of` begins the labels: “Face 1: ”."""
    kinds = [FROM_FILE, FROM_MICROPHONE, FROM_TEXT]
    kind = gr.Radio(kinds, value=FROM_FILE, label=f"{of}Voice from", elem_id=f"{prefix}-kind")
    file = gr.File(label=f"{of}Sound, or a video with sound", elem_id=f"{prefix}-voice", height=168)
    note = gr.HTML("", elem_id=f"{prefix}-voice-note", visible=False)
    microphone = gr.Audio(
        label=f"{of}Record a voice",
        sources=["microphone"],
        type="filepath",
        elem_id=f"{prefix}-microphone",
        visible=False,
    )
    player = gr.Audio(elem_id=f"{prefix}-voice-player", interactive=False, visible=False, buttons=[])
    with gr.Group(visible=False) as group:
        text, language, pace = _text_input(prefix, of)

    def switch(selected: str) -> list[Any]:
        hidden = gr.update(visible=False)
        return [*(gr.update(visible=selected == name) for name in kinds), hidden, hidden]

    def inspect(path: str | None, request: gr.Request) -> list[Any]:
        nothing = gr.update(value=None, visible=False)
        if not path:
            return [nothing, nothing]
        try:
            info = backend.uploads.inspect_voice(Path(path), owner_of(request))
        except TalkerError as error:
            return [gr.update(value=markup.error(str(error)), visible=True), nothing]
        return [nothing, gr.update(value=str(info.sound), label=f"{of}Heard as: {info.summary}", visible=True)]

    kind.change(switch, kind, [file, microphone, group, note, player], queue=False, **PRIVATE)
    file.change(inspect, file, [note, player], concurrency_limit=None, **PRIVATE)
    retain_uploads(backend, microphone)
    return VoiceInput(kind, file, microphone, text, language, pace)


def retain_uploads(backend: Backend, *widgets: Any) -> None:
    """Remove the uploads of these widgets with the page's session."""

    def retain(given: Any, request: gr.Request) -> None:
        for path in uploaded(given):
            with suppress(TalkerError):  # the file is removed, and a job that needs it will say so
                backend.uploads.admit(path, owner_of(request))

    for widget in widgets:
        widget.change(retain, widget, None, queue=False, **PRIVATE)


def selected_voice(kind: str, file: Any, microphone: Any, text: str | None, language: Any, pace: Any) -> dict[str, Any]:
    """Return the voice or the text as arguments of `GivenVoice.check`."""
    return {
        "voice": {FROM_FILE: file, FROM_MICROPHONE: microphone}.get(kind),
        "text": (text or "") if kind == FROM_TEXT else None,
        "speech_voice": language,
        "pace": pace,
    }


def _seen_as(description: str) -> Any:
    return gr.update(value=markup.remark(f"Seen as: {description}"), visible=True)


def _text_input(prefix: str, of: str) -> tuple[gr.Textbox, gr.Dropdown, gr.Slider]:
    text = gr.Textbox(
        label=f"{of}Text to say",
        info="Said by a basic, robotic voice (eSpeak NG). A recorded voice looks and sounds better.",
        placeholder="Type what the portrait says.",
        elem_id=f"{prefix}-text",
        lines=3,
        max_length=speech.MAX_CHARACTERS,
    )
    codes = [("not installed", speech.DEFAULT_VOICE)]
    if speech.is_installed():
        codes = [(f"{voice.language} [{voice.code}]", voice.code) for voice in speech.list_voices()]
    else:
        gr.HTML(markup.error(f"{speech.MISSING_EXTRA}."))
    language = gr.Dropdown(codes, value=speech.DEFAULT_VOICE, label=f"{of}Language", elem_id=f"{prefix}-speech-voice")
    pace = gr.Slider(
        speech.SLOWEST,
        speech.FASTEST,
        value=speech.DEFAULT_PACE,
        step=5,
        label=f"{of}Pace (words a minute)",
        elem_id=f"{prefix}-pace",
    )
    return text, language, pace
