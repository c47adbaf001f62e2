"""The Edit tab: the face of a portrait in your hands."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from ..errors import TalkerError
from ..options.edit import EditOptions
from . import edit_orders as orders
from . import view
from .desk import Desk, owner
from .fields import chosen
from .inputs import hold_uploads, picture_input
from .panel import Panel, panel
from .relevance import crew
from .result import PRIVATE, Plan, Result, follow, result
from .uploads import write_picture_for_page

_OPEN = ("head", "eyes", "mouth")
_SAVED_OTHERWISE = (
    "What you save is drawn by the neural renderer. To preview with it, which may take seconds a move, choose it by "
    "name in “Who draws”."
)
_TITLES = {"expression": "Copy an expression", "who draws": "Who draws", "picture": "Picture and clip"}


def build(desk: Desk) -> None:
    """Draw the tab and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320, elem_classes="lpt-still", elem_id="edit-look"):
            portrait = picture_input("edit", "portrait", "Portrait", desk, "the portrait", poster=False)
            live = gr.Image(
                label="Live preview", elem_id="edit-live", interactive=False, height=420, format="jpeg", buttons=[]
            )
            drawn = gr.HTML(view.notice("Choose a portrait, then move the sliders."), elem_id="edit-note")
            reset = gr.Button("Reset the sliders", elem_id="edit-reset")
        with gr.Column(scale=1, min_width=320):
            sliders = panel(
                orders.SLIDERS,
                prefix="edit",
                hidden=orders.irrelevant_sliders(None),
                titles=_TITLES,
                opened=_OPEN,
            )
            keyframes = gr.File(label="Keyframes for a clip (.json or .csv)", elem_id="edit-keyframes", height=168)
            setup = panel(
                orders.SETUP,
                prefix="edit-setup",
                hidden=orders.irrelevant_setup(crew("auto", "auto").renderer, clip=False),
                titles=_TITLES,
            )
            hold_uploads(desk, *sliders.files, keyframes)
            labels = [("clip", "Make the clip"), ("save", "Save the picture")]
            out = result(
                "edit", desk, labels, "Save the picture as you see it, or make a clip of keyframes.", empty=False
            )

    def draw(request: gr.Request, picture: Any, *values: Any) -> list[Any]:
        if not picture:
            return [None, view.notice("Choose a portrait, then move the sliders.")]
        began = time.monotonic()
        try:
            wanted = _wish(sliders, setup, picture, None, values)
            image, who = desk.studio.draw(owner(request), wanted.portrait, wanted.edit, wanted.setup)
            seen = desk.uploads.new_served("live.jpg", owner(request))  # goes with the page; Gradio's own would stay
            write_picture_for_page(image, seen)
        except TalkerError as error:
            return [gr.skip(), view.mistake(desk.uploads.names_only(str(error)))]
        took = f"{who} renderer, {1000 * (time.monotonic() - began):.0f} ms."
        saved = crew(wanted.setup.renderer, "auto").renderer
        return [str(seen), view.notice(took if saved == who else f"{took} {_SAVED_OTHERWISE}")]

    given = [portrait.file, *sliders.components, *setup.components]
    moved = [getattr(component, "input", None) or component.change for component in sliders.components]
    others = [component.change for component in setup.components]
    quick: dict[str, Any] = {"trigger_mode": "always_last", "queue": False, **PRIVATE}
    gr.on([portrait.file.change, *moved, *others], draw, given, [live, drawn], **quick)
    start = [EditOptions.__dataclass_fields__[field.name].default for field in sliders.fields]
    reset.click(lambda: start, None, sliders.components, queue=False, **PRIVATE).then(
        draw, given, [live, drawn], **quick
    )
    _wire_saving(desk, out, sliders, setup, keyframes, given)
    _keep_relevant(sliders, setup, keyframes)


def _wire_saving(desk: Desk, out: Result, sliders: Panel, setup: Panel, keyframes: gr.File, given: list[Any]) -> None:
    async def make(request: gr.Request, made: Any, frames: Any, picture: Any, values: Any) -> AsyncIterator[Any]:
        def plan() -> Plan:
            wanted = _wish(sliders, setup, picture, frames, values)
            return Plan(orders.order(desk, wanted), "edited", "Clip", lambda suffix: orders.command(wanted, suffix))

        async for updates in follow(desk, request, out, plan, made):
            yield updates

    async def save(request: gr.Request, made: Any, picture: Any, *values: Any) -> AsyncIterator[Any]:
        async for updates in make(request, made, None, picture, values):
            yield updates

    async def clip(request: gr.Request, made: Any, frames: Any, picture: Any, *values: Any) -> AsyncIterator[Any]:
        if not frames:
            yield {out.status: view.mistake("there are no keyframes yet: choose a .json or .csv file of them.")}
            return
        async for updates in make(request, made, frames, picture, values):
            yield updates

    clip_button, save_button = out.buttons
    save_button.click(save, [out.made, *given], out.outputs, concurrency_limit=None, **PRIVATE)
    clip_button.click(clip, [out.made, keyframes, *given], out.outputs, concurrency_limit=None, **PRIVATE)


def _keep_relevant(sliders: Panel, setup: Panel, keyframes: gr.File) -> None:
    sample, renderer = sliders.widgets["sample"], setup.widgets["renderer"]
    sample.change(
        lambda path: sliders.shown(orders.irrelevant_sliders(path)),
        sample,
        sliders.everything,
        queue=False,
        **PRIVATE,
    )
    gr.on(
        [renderer.change, keyframes.change],
        lambda named, path: setup.shown(_hidden_setup(named, path)),
        [renderer, keyframes],
        setup.everything,
        queue=False,
        **PRIVATE,
    )


def _wish(sliders: Panel, setup: Panel, picture: Any, keyframes: Any, values: Any) -> orders.Wish:
    """Raises OptionError."""
    edit, how = sliders.given(values[: len(sliders.fields)]), setup.given(values[len(sliders.fields) :])
    hidden = _hidden_setup(how["renderer"], keyframes)
    return orders.wish(
        picture,
        chosen(orders.SLIDERS, edit, orders.irrelevant_sliders(edit["sample"])),
        chosen(orders.SETUP, how, hidden),
        keyframes,
    )


def _hidden_setup(renderer: str, keyframes: Any) -> set[str]:
    return orders.irrelevant_setup(crew(renderer, "auto").renderer, clip=bool(keyframes))
