"""The half of a tab where things go in: a picture or video with a look at it, and a voice in one of three ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..audio import speech
from ..errors import TalkerError
from . import view
from .desk import Desk, owner
from .result import PRIVATE

FROM_FILE, FROM_MICROPHONE, FROM_TEXT = "File", "Microphone", "Text"


@dataclass(frozen=True)
class Seen:
    """A picture or video: the upload, and whether it is a still (a `gr.State`; True before there is one)."""

    file: gr.File
    is_still: gr.State


@dataclass(frozen=True)
class Heard:
    """A voice: where it comes from, and the widgets of each way."""

    kind: gr.Radio
    file: gr.File
    microphone: gr.Audio
    text: gr.Textbox
    language: gr.Dropdown
    pace: gr.Slider

    @property
    def components(self) -> list[Any]:
        """In the order of `voice_of`'s arguments."""
        return [self.kind, self.file, self.microphone, self.text, self.language, self.pace]


def picture_input(
    prefix: str,
    name: str,
    label: str,
    desk: Desk,
    called: str,
    *,
    poster: bool = True,
    other: Callable[[Path], str | None] = lambda path: None,
) -> Seen:
    """An upload for a picture or a video, judged as it comes.

    Args:
        prefix, name: of the elem_id.
        label: what the user reads.
        desk: whose uploads they are.
        called: its name in messages: “the portrait”.
        poster: show its first frame.
        other: what else it may be: says so in a few words, raises TalkerError, or gives None.
    """
    file = gr.File(label=label, elem_id=f"{prefix}-{name}", height=168)
    note = gr.HTML("", elem_id=f"{prefix}-{name}-note", visible=False)
    first = gr.Image(elem_id=f"{prefix}-{name}-poster", interactive=False, height=200, visible=False, buttons=[])
    is_still = gr.State(True)

    def look(path: str | None, request: gr.Request) -> list[Any]:
        gone = gr.update(value=None, visible=False)
        if not path:
            return [gr.update(visible=False), gone, True]
        desk.jobs.warm()
        desk.uploads.hold(Path(path), owner(request))
        try:
            if words := other(Path(path)):
                return [gr.update(value=_remark(words), visible=True), gone, False]
            seen = desk.uploads.look(Path(path), owner(request), called)
        except TalkerError as error:
            told = view.mistake(desk.uploads.names_only(str(error)))
            return [gr.update(value=told, visible=True), gone, True]
        if not poster:
            return [gr.update(value=_remark(seen.summary), visible=True), gone, seen.is_still]
        shown = gr.update(value=str(seen.poster), visible=True, label=f"Seen as: {seen.summary}")
        return [gr.update(visible=False), shown, seen.is_still]

    file.change(look, file, [note, first, is_still], concurrency_limit=4, **PRIVATE)
    return Seen(file, is_still)


def voice_input(prefix: str, desk: Desk) -> Heard:
    """A voice from a file, the microphone or a text."""
    kinds = [FROM_FILE, FROM_MICROPHONE, FROM_TEXT]
    kind = gr.Radio(kinds, value=FROM_FILE, label="Voice from", elem_id=f"{prefix}-kind")
    file = gr.File(label="Sound, or a video with sound", elem_id=f"{prefix}-voice", height=168)
    note = gr.HTML("", elem_id=f"{prefix}-voice-note", visible=False)
    microphone = gr.Audio(
        label="Record a voice", sources=["microphone"], type="filepath", elem_id=f"{prefix}-microphone", visible=False
    )
    with gr.Group(visible=False) as group:
        text, language, pace = _text_input(prefix)

    def switch(chosen: str) -> list[Any]:
        return [gr.update(visible=chosen == name) for name in (FROM_FILE, FROM_MICROPHONE, FROM_TEXT)] + [
            gr.update(visible=False)
        ]

    def listen(path: str | None, request: gr.Request) -> Any:
        if not path:
            return gr.update(visible=False)
        try:
            heard = desk.uploads.listen(Path(path), owner(request))
        except TalkerError as error:
            return gr.update(value=view.mistake(str(error)), visible=True)
        return gr.update(value=_remark(heard, "Heard"), visible=True)

    kind.change(switch, kind, [file, microphone, group, note], queue=False, **PRIVATE)
    file.change(listen, file, note, concurrency_limit=4, **PRIVATE)
    hold_uploads(desk, microphone)
    return Heard(kind, file, microphone, text, language, pace)


def hold_uploads(desk: Desk, *widgets: Any) -> None:
    """What comes in by these widgets belongs to the page's session, and goes with it."""

    def hold(path: str | None, request: gr.Request) -> None:
        if path:
            desk.uploads.hold(Path(path), owner(request))

    for widget in widgets:
        widget.change(hold, widget, None, queue=False, **PRIVATE)


def voice_of(kind: str, file: Any, microphone: Any, text: str | None, language: Any, pace: Any) -> dict[str, Any]:
    """The voice, or the text and how it is said, whichever way was chosen."""
    return {
        "voice": {FROM_FILE: file, FROM_MICROPHONE: microphone}.get(kind),
        "text": (text or "") if kind == FROM_TEXT else None,
        "speech_voice": language,
        "pace": pace,
    }


def _remark(words: str, how: str = "Seen") -> str:
    return f'<p class="lpt-empty">{how} as: {view.Text(words)}</p>'


def _text_input(prefix: str) -> tuple[gr.Textbox, gr.Dropdown, gr.Slider]:
    text = gr.Textbox(
        label="Text to say",
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
        gr.HTML(view.mistake(f"{speech.MISSING_EXTRA}."))
    language = gr.Dropdown(codes, value=speech.DEFAULT_VOICE, label="Language", elem_id=f"{prefix}-speech-voice")
    pace = gr.Slider(
        speech.SLOWEST,
        speech.FASTEST,
        value=speech.DEFAULT_PACE,
        step=5,
        label="Pace (words a minute)",
        elem_id=f"{prefix}-pace",
    )
    return text, language, pace
