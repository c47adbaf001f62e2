"""The Edit tab: sliders change the expression of a portrait, with a live preview."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr

from ..errors import TalkerError
from ..options.edit import EditOptions
from . import markup
from .backend import Backend, owner_of
from .fields import SLIDER, parse_values
from .inputs import retain_uploads, source_input
from .requests import EDIT, SETUP, EditRequest, limited
from .result import PRIVATE, Plan, ResultColumn, build_result, run_job
from .settings_panel import SettingsPanel, build_settings
from .visibility import hidden_edit_setup, hidden_sliders, resolve_engines

_STEPS = 50  # that can be taken back
_OPEN = ("head", "eyes", "mouth")
_HINT = "Choose a portrait, then move the sliders."
_SAVE_HINT = "Save the picture as you see it, or make a clip of keyframes."
_SAVED_BY_NEURAL = (
    "Saving uses the neural renderer. To preview with it, which may take seconds a change, set the renderer to neural."
)
_TITLES = {"expression": "Copy an expression", "image": "Picture and clip"}


def build(backend: Backend) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280, elem_classes="lpt-still", elem_id="edit-preview"):
            portrait = source_input("edit", "portrait", "Portrait", backend, "the portrait", poster=False)
            live = gr.Image(
                label="Live preview", elem_id="edit-live", interactive=False, height=420, format="jpeg", buttons=[]
            )
            note = gr.HTML(markup.notice(_HINT), elem_id="edit-note")
            before = gr.Checkbox(label="Show the original", elem_id="edit-before")
            with gr.Row():
                undo = gr.Button("Undo", elem_id="edit-undo", interactive=False, min_width=90)
                reset = gr.Button("Reset the sliders", elem_id="edit-reset", min_width=90)
        with gr.Column(scale=1, min_width=280):
            sliders = build_settings(EDIT, prefix="edit", hidden=hidden_sliders(None), titles=_TITLES, opened=_OPEN)
            keyframes = gr.File(label="Keyframes for a clip (.json or .csv)", elem_id="edit-keyframes", height=168)
            setup = build_settings(
                SETUP,
                prefix="edit-setup",
                hidden=_hidden_setup("auto", None),
                limits=backend.uploads.limits.of_options,
                titles=_TITLES | {"mouth": "Teeth and tongue"},
            )
            retain_uploads(backend, *sliders.files, *setup.files, keyframes)
            with gr.Accordion("Copy this expression", open=False, elem_id="edit-copy"):
                command = _copied("As a command line", "edit-copy-command")
                keys = _copied("As keyframes: from the picture to this within a second", "edit-copy-keys")
            labels = [("clip", "Make the clip"), ("save", "Save the picture")]
            out = build_result("edit", backend, labels, _SAVE_HINT, placeholder=False)

    def draw(request: gr.Request, picture: Any, original: bool, *values: Any) -> list[Any]:
        if not picture:
            return [None, markup.notice(_HINT), "", ""]
        start = time.monotonic()
        try:
            checked = _check(sliders, setup, picture, None, values)
            # This file is removed with the session; one that Gradio writes would stay.
            setup_here = limited(checked.setup, backend.uploads.limits)
            edit = EditOptions() if original else checked.edit
            path, renderer = backend.previews.draw(owner_of(request), checked.portrait, edit, setup_here)
        except TalkerError as error:
            return [gr.skip(), markup.error(str(error)), gr.skip(), gr.skip()]
        message = f"{renderer} renderer, {1000 * (time.monotonic() - start):.0f} ms."
        if resolve_engines(checked.setup.renderer).renderer != renderer:
            message = f"{message} {_SAVED_BY_NEURAL}"
        return [str(path), markup.notice(message), checked.command(".png"), _as_keyframes(checked.edit)]

    inputs = [portrait.file, *sliders.components, *setup.components]
    slider_events = [getattr(component, "input", None) or component.change for component in sliders.components]
    setup_events = [component.change for component in setup.components]
    quick: dict[str, Any] = {"trigger_mode": "always_last", "queue": False, **PRIVATE}
    drawn = (draw, [portrait.file, before, *inputs[1:]], [live, note, command, keys])
    portrait.file.change(lambda: markup.notice(_SAVE_HINT), None, out.status, queue=False, **PRIVATE)
    gr.on([portrait.file.change, before.change, *slider_events, *setup_events], *drawn, **quick)
    defaults = [EditOptions.__dataclass_fields__[field.name].default for field in sliders.fields]
    reset.click(lambda: defaults, None, sliders.components, queue=False, **PRIVATE).then(*drawn, **quick)
    _connect_undo(undo, sliders).then(*drawn, **quick)
    _connect_buttons(backend, out, sliders, setup, keyframes, inputs)
    _connect_visibility(sliders, setup, keyframes)


def _copied(label: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox(label=label, elem_id=elem_id, interactive=False, lines=2, buttons=["copy"])


def _as_keyframes(edit: EditOptions) -> str:
    """Return keyframes, as `edit --keyframes` reads them, from the unedited picture to this expression."""
    changed = {f.name: value for f in EDIT if f.kind == SLIDER and (value := getattr(edit, f.name)) != f.default}
    start = {field.name: field.default for field in EDIT if field.name in changed}
    return json.dumps([{"time": 0} | start, {"time": 1} | changed])


def _connect_undo(undo: gr.Button, sliders: SettingsPanel) -> Any:
    """Let a button take back the last slider that was moved, or the last reset; returns its event."""
    moved = [sliders.widgets[field.name] for field in sliders.fields if field.kind == SLIDER]
    past = gr.State([tuple(field.default for field in sliders.fields if field.kind == SLIDER)])
    """The values after each step, the present ones last."""

    def remember(steps: list[tuple[float, ...]], *values: float) -> list[Any]:
        last = _moved(steps[-1], values)
        if not last:
            return [gr.skip(), gr.skip()]
        if len(steps) > 1 and len(last) == 1 and last == _moved(steps[-2], steps[-1]):
            steps = steps[:-1]  # the same slider goes on
        return [[*steps[-_STEPS:], values], gr.update(interactive=True)]

    def take_back(steps: list[tuple[float, ...]]) -> list[Any]:
        steps = steps[:-1] or steps
        return [steps, gr.update(interactive=len(steps) > 1), *steps[-1]]

    quick: dict[str, Any] = {"queue": False, **PRIVATE}
    gr.on([each.change for each in moved], remember, [past, *moved], [past, undo], trigger_mode="always_last", **quick)
    return undo.click(take_back, past, [past, undo, *moved], **quick)


def _moved(one: Sequence[float], other: Sequence[float]) -> list[int]:
    """Return which sliders differ."""
    return [k for k, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def _connect_buttons(
    backend: Backend,
    out: ResultColumn,
    sliders: SettingsPanel,
    setup: SettingsPanel,
    keyframes: gr.File,
    inputs: list[Any],
) -> None:
    async def make(request: gr.Request, items: Any, frames: Any, picture: Any, values: Any) -> AsyncIterator[Any]:
        def plan() -> Plan:
            edit = _check(sliders, setup, picture, frames, values)
            return Plan(edit.task(backend), "edited", "Clip", edit.command)

        async for updates in run_job(backend, request, out, plan, items):
            yield updates

    async def save(request: gr.Request, items: Any, picture: Any, *values: Any) -> AsyncIterator[Any]:
        async for updates in make(request, items, None, picture, values):
            yield updates

    async def clip(request: gr.Request, items: Any, frames: Any, picture: Any, *values: Any) -> AsyncIterator[Any]:
        if not frames:
            yield {out.status: markup.error("there are no keyframes yet: choose a .json or .csv file of them.")}
            return
        async for updates in make(request, items, frames, picture, values):
            yield updates

    clip_button, save_button = out.buttons
    save_button.click(save, [out.items, *inputs], out.outputs, concurrency_limit=None, **PRIVATE)
    clip_button.click(clip, [out.items, keyframes, *inputs], out.outputs, concurrency_limit=None, **PRIVATE)


def _connect_visibility(sliders: SettingsPanel, setup: SettingsPanel, keyframes: gr.File) -> None:
    sample, renderer = sliders.widgets["sample"], setup.widgets["renderer"]
    sample.change(
        lambda path: sliders.update_visibility(hidden_sliders(path)),
        sample,
        sliders.outputs,
        queue=False,
        **PRIVATE,
    )
    gr.on(
        [renderer.change, keyframes.change],
        lambda name, path: setup.update_visibility(_hidden_setup(name, path)),
        [renderer, keyframes],
        setup.outputs,
        queue=False,
        **PRIVATE,
    )


def _check(sliders: SettingsPanel, setup: SettingsPanel, picture: Any, keyframes: Any, values: Any) -> EditRequest:
    """Create a request from the widgets' values. Raises OptionError."""
    edit, how = sliders.by_name(values[: len(EDIT)]), setup.by_name(values[len(EDIT) :])
    return EditRequest.check(
        picture,
        parse_values(EDIT, edit, hidden_sliders(edit["sample"])),
        parse_values(SETUP, how, _hidden_setup(how["renderer"], keyframes)),
        keyframes,
    )


def _hidden_setup(renderer: str, keyframes: Any) -> set[str]:
    return hidden_edit_setup(resolve_engines(renderer).renderer, is_clip=bool(keyframes))
