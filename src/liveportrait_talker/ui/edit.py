"""The Edit tab: sliders change the expression of a portrait, with a live preview."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from ..errors import TalkerError
from ..options.edit import EditOptions
from . import markup
from .backend import Backend, owner_of
from .fields import parse_values
from .inputs import retain_uploads, source_input
from .requests import EDIT, SETUP, EditRequest, limited
from .result import PRIVATE, Plan, ResultColumn, build_result, run_job
from .settings_panel import SettingsPanel, build_settings
from .visibility import hidden_edit_setup, hidden_sliders, resolve_engines

_OPEN = ("head", "eyes", "mouth")
_HINT = "Choose a portrait, then move the sliders."
_SAVED_BY_NEURAL = (
    "Saving uses the neural renderer. To preview with it, which may take seconds a change, set the renderer to neural."
)
_TITLES = {"expression": "Copy an expression", "image": "Picture and clip"}


def build(backend: Backend) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320, elem_classes="lpt-still", elem_id="edit-preview"):
            portrait = source_input("edit", "portrait", "Portrait", backend, "the portrait", poster=False)
            live = gr.Image(
                label="Live preview", elem_id="edit-live", interactive=False, height=420, format="jpeg", buttons=[]
            )
            note = gr.HTML(markup.notice(_HINT), elem_id="edit-note")
            reset = gr.Button("Reset the sliders", elem_id="edit-reset")
        with gr.Column(scale=1, min_width=320):
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
            labels = [("clip", "Make the clip"), ("save", "Save the picture")]
            hint = "Save the picture as you see it, or make a clip of keyframes."
            out = build_result("edit", backend, labels, hint, placeholder=False)

    def draw(request: gr.Request, picture: Any, *values: Any) -> list[Any]:
        if not picture:
            return [None, markup.notice(_HINT)]
        start = time.monotonic()
        try:
            checked = _check(sliders, setup, picture, None, values)
            # This file is removed with the session; one that Gradio writes would stay.
            setup_here = limited(checked.setup, backend.uploads.limits)
            path, renderer = backend.previews.draw(owner_of(request), checked.portrait, checked.edit, setup_here)
        except TalkerError as error:
            return [gr.skip(), markup.error(str(error))]
        message = f"{renderer} renderer, {1000 * (time.monotonic() - start):.0f} ms."
        if resolve_engines(checked.setup.renderer).renderer != renderer:
            message = f"{message} {_SAVED_BY_NEURAL}"
        return [str(path), markup.notice(message)]

    inputs = [portrait.file, *sliders.components, *setup.components]
    slider_events = [getattr(component, "input", None) or component.change for component in sliders.components]
    setup_events = [component.change for component in setup.components]
    quick: dict[str, Any] = {"trigger_mode": "always_last", "queue": False, **PRIVATE}
    gr.on([portrait.file.change, *slider_events, *setup_events], draw, inputs, [live, note], **quick)
    defaults = [EditOptions.__dataclass_fields__[field.name].default for field in sliders.fields]
    reset.click(lambda: defaults, None, sliders.components, queue=False, **PRIVATE).then(
        draw, inputs, [live, note], **quick
    )
    _connect_buttons(backend, out, sliders, setup, keyframes, inputs)
    _connect_visibility(sliders, setup, keyframes)


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
