"""The Talk tab: a talking video from a portrait (or a video) and a voice."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from ..examples import PORTRAIT, VOICE
from .backend import Backend, owner_of
from .fields import AUTOMATIC, build_widget, parse_values
from .inputs import FROM_FILE, FROM_TEXT, VoiceInput, retain_uploads, selected_voice, source_input, voice_input
from .requests import TALK, TalkRequest
from .result import PRIVATE, Plan, build_result, run_job
from .settings_panel import SettingsPanel, build_settings
from .visibility import TALK_CONTROLS, head_poses, hidden_talk_options, resolve_engines

_TITLES = {"networks": "Networks (neural renderer, learned lips)", "image": "Picture and crop"}
_EXAMPLE_TEXT = "Hello! I am a portrait, and I can say whatever you type."
_MAX_RANDOM_SEED = 1_000_000


def build(backend: Backend) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320):
            source = source_input("talk", "source", "Portrait, or a video with a face", backend, "the portrait")
            voice = voice_input("talk", backend)
            _build_examples(backend, source.file, voice)
            seed, random, reuse = _build_seed()
            settings = build_settings(
                TALK,
                prefix="talk",
                hidden=hidden_talk_options({f.name: f.default for f in TALK}, resolve_engines("auto"), is_still=True),
                placed={"seed": seed},
                limits=backend.uploads.limits.of_options,
                titles=_TITLES,
            )
            retain_uploads(backend, *settings.files)
        with gr.Column(scale=1, min_width=320, elem_classes="lpt-still"):
            labels = [("preview", "Preview 2 s"), ("run", "Generate")]
            out = build_result("talk", backend, labels, "Choose a portrait and a voice, then Generate.")
    last_seed = gr.State(0)

    async def make(preview: bool, request: gr.Request, values: tuple[Any, ...]) -> AsyncIterator[dict[Any, Any]]:
        path, is_still, items, *voice_values = *values[:3], *values[3:9]
        options = settings.by_name(values[9:])

        def plan() -> Plan:
            hidden = _hidden(settings, [options[name] for name in TALK_CONTROLS], is_still)
            talk = TalkRequest.check(
                path,
                options=parse_values(TALK, options, hidden),
                preview=preview,
                **selected_voice(*voice_values),
            )
            name = f"{'preview' if preview else 'talk'}-seed{talk.options.seed}"
            return Plan(talk.task(backend), name, "Preview" if preview else "Video", talk.command)

        async for updates in run_job(backend, request, out, plan, items):
            yield updates | ({last_seed: options["seed"]} if out.video in updates else {})

    async def generate(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
        async for updates in make(False, request, values):
            yield updates

    async def preview(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
        async for updates in make(True, request, values):
            yield updates

    inputs = [source.file, source.is_still, out.items, *voice.components, *settings.components]
    for button, run in zip(out.buttons, (preview, generate), strict=True):
        button.click(run, inputs, [*out.outputs, last_seed], concurrency_limit=None, **PRIVATE)
    random.click(lambda: secrets.randbelow(_MAX_RANDOM_SEED), None, seed, queue=False, **PRIVATE)
    reuse.click(lambda seed: seed, last_seed, seed, queue=False, **PRIVATE)
    _connect_visibility(settings, source.is_still)


def _build_seed() -> tuple[Any, gr.Button, gr.Button]:
    field = next(field for field in TALK if field.name == "seed")
    with gr.Row(equal_height=True):
        seed = build_widget(field, prefix="talk")
        with gr.Column(min_width=150, scale=0):
            random = gr.Button("Random seed", size="sm", elem_id="talk-seed-random")
            reuse = gr.Button("Reuse last seed", size="sm", elem_id="talk-seed-last")
    return seed, random, reuse


def _hidden(settings: SettingsPanel, values: Any, is_still: bool) -> set[str]:
    controls = settings.parse(TALK_CONTROLS, values)
    if controls["head_pose"] not in (None, *head_poses(is_still)):
        controls["head_pose"] = None
    return hidden_talk_options(controls, resolve_engines(controls["renderer"], controls["driver"]), is_still=is_still)


def _connect_visibility(settings: SettingsPanel, is_still: gr.State) -> None:
    """Update the visible settings on a change of a controlling setting or of the kind of source."""
    controls = [settings.widgets[name] for name in TALK_CONTROLS]

    def update(still: bool, *values: Any) -> list[Any]:
        choices = [AUTOMATIC, *head_poses(still)]
        change: dict[str, Any] = {"choices": choices}
        if values[TALK_CONTROLS.index("head_pose")] not in choices:
            change["value"] = AUTOMATIC
        return settings.update_visibility(_hidden(settings, values, still), {"head_pose": change})

    gr.on(
        [is_still.change, *(component.change for component in controls)],
        update,
        [is_still, *controls],
        settings.outputs,
        queue=False,
        **PRIVATE,
    )


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
