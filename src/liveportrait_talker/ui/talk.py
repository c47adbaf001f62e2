"""The Talk tab: a portrait (or a video) and a voice go in, a talking video comes out."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from ..examples import PORTRAIT, VOICE
from .desk import Desk, owner
from .fields import AUTOMATIC, chosen, widget
from .inputs import FROM_FILE, FROM_TEXT, Heard, hold_uploads, picture_input, voice_input, voice_of
from .panel import Panel, panel
from .relevance import DECIDING, crew, head_poses, irrelevant
from .result import PRIVATE, Plan, follow, result
from .talk_orders import FIELDS, Wish, command, order, wish

_TITLES = {"networks": "Networks (neural renderer, learned lips)", "picture": "Picture and crop"}
_EXAMPLE_TEXT = "Hello! I am a portrait, and I can say whatever you type."
_SEEDS = 1_000_000  # of the random ones: short enough to be read aloud


def build(desk: Desk) -> None:
    """Draw the tab and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320):
            source = picture_input("talk", "source", "Portrait, or a video with a face", desk, "the portrait")
            voice = voice_input("talk", desk)
            _examples(desk, source.file, voice)
            seed, random, reuse = _seed()
            settings = _settings(desk, seed)
            hold_uploads(desk, *settings.files)
        with gr.Column(scale=1, min_width=320, elem_classes="lpt-still"):
            out = result(
                "talk",
                desk,
                [("preview", "Preview 2 s"), ("run", "Generate")],
                "Choose a portrait and a voice, then Generate.",
            )
    last_seed = gr.State(0)

    async def make(preview: bool, request: gr.Request, values: tuple[Any, ...]) -> AsyncIterator[dict[Any, Any]]:
        given, still, made, *voiced = *values[:3], *values[3:9]
        options = settings.given(values[9:])

        def plan() -> Plan:
            if (options["max_seconds"] or 0) >= desk.uploads.max_seconds:  # the page's own limit holds anyway
                del options["max_seconds"]
            wanted = _wish(given, voice_of(*voiced), options, is_still=still, settings=settings, preview=preview)
            name = f"{'preview' if preview else 'talk'}-seed{wanted.options.seed}"
            return Plan(order(desk, wanted), name, "Preview" if preview else "Video", lambda suffix: command(wanted))

        async for updates in follow(desk, request, out, plan, made):
            yield updates | ({last_seed: options["seed"]} if out.video in updates else {})

    async def generate(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
        async for updates in make(False, request, values):
            yield updates

    async def preview(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
        async for updates in make(True, request, values):
            yield updates

    given = [source.file, source.is_still, out.made, *voice.components, *settings.components]
    for button, run in zip(out.buttons, (preview, generate), strict=True):
        button.click(run, given, [*out.outputs, last_seed], concurrency_limit=None, **PRIVATE)
    random.click(lambda: secrets.randbelow(_SEEDS), None, seed, queue=False, **PRIVATE)
    reuse.click(lambda seed: seed, last_seed, seed, queue=False, **PRIVATE)
    _keep_relevant(settings, source.is_still)


def _seed() -> tuple[Any, gr.Button, gr.Button]:
    field = next(field for field in FIELDS if field.name == "seed")
    with gr.Row(equal_height=True):
        seed = widget(field, prefix="talk")
        with gr.Column(min_width=150, scale=0):
            random = gr.Button("Random seed", size="sm", elem_id="talk-seed-random")
            reuse = gr.Button("Reuse last seed", size="sm", elem_id="talk-seed-last")
    return seed, random, reuse


def _settings(desk: Desk, seed: Any) -> Panel:
    start = {field.name: field.default for field in FIELDS}
    return panel(
        FIELDS,
        prefix="talk",
        hidden=irrelevant(start, crew=crew("auto", "auto"), is_still=True),
        placed={"seed": seed},
        highs={"max_seconds": desk.uploads.max_seconds},
        titles=_TITLES,
    )


def _wish(
    source: Any, voice: dict[str, Any], options: dict[str, Any], *, is_still: bool, settings: Panel, preview: bool
) -> Wish:
    """Raises OptionError."""
    hidden = _hidden(settings, [options[name] for name in DECIDING], is_still)
    return wish(source, options=chosen(FIELDS, options, hidden), preview=preview, **voice)


def _hidden(settings: Panel, values: Any, is_still: bool) -> set[str]:
    deciding = settings.read(DECIDING, values)
    if deciding["head_pose"] not in (None, *head_poses(is_still)):
        deciding["head_pose"] = None
    return irrelevant(deciding, crew=crew(deciding["renderer"], deciding["driver"]), is_still=is_still)


def _keep_relevant(settings: Panel, is_still: gr.State) -> None:
    """Show what applies whenever one of the deciding settings, or the kind of source, changes."""
    deciding = [settings.widgets[name] for name in DECIDING]

    def relevant(still: bool, *values: Any) -> list[Any]:
        offered = [AUTOMATIC, *head_poses(still)]
        change: dict[str, Any] = {"choices": offered}
        if values[DECIDING.index("head_pose")] not in offered:
            change["value"] = AUTOMATIC
        return settings.shown(_hidden(settings, values, still), {"head_pose": change})

    gr.on(
        [is_still.change, *(component.change for component in deciding)],
        relevant,
        [is_still, *deciding],
        settings.everything,
        queue=False,
        **PRIVATE,
    )


def _examples(desk: Desk, source: gr.File, voice: Heard) -> None:
    """A gallery of what we made ourselves; a click fills the tab."""
    gallery = gr.Dataset(
        label="Examples",
        components=[gr.Image(visible=False, label="Portrait"), gr.Textbox(visible=False, label="Voice")],
        headers=["Portrait", "Voice"],
        samples=[[str(PORTRAIT), "a recorded voice"], [str(PORTRAIT), "a typed text"]],
        type="index",
        elem_id="talk-examples",
    )

    def fill(index: int, request: gr.Request) -> list[Any]:
        picture = desk.uploads.copy(PORTRAIT, owner(request))
        if index == 1:
            return [str(picture), FROM_TEXT, gr.update(), _EXAMPLE_TEXT]
        return [str(picture), FROM_FILE, str(desk.uploads.copy(VOICE, owner(request))), gr.update()]

    gallery.click(fill, gallery, [source, voice.kind, voice.file, voice.text], **PRIVATE)
