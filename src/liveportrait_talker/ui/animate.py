"""The Animate tab: a portrait (or a video) does what the face in another video does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from . import animate_orders as orders
from .desk import Desk
from .fields import chosen
from .inputs import hold_uploads, picture_input
from .panel import Panel, panel
from .relevance import crew
from .result import PRIVATE, Plan, follow, result

_TITLES = {"networks": "Networks (neural renderer)", "picture": "Picture and crop"}


def build(desk: Desk) -> None:
    """Draw the tab and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320):
            source = picture_input("animate", "source", "Portrait, or a video with a face", desk, "the portrait")
            driving = picture_input(
                "animate",
                "driving",
                "Video, picture or template to follow",
                desk,
                "the driving video",
                other=lambda path: _template(desk, path),
            )
            keep = gr.Checkbox(
                label="Keep the motion",
                info="As a motion template, which can be followed again without the video.",
                elem_id="animate-keep",
            )
            start = {field.name: field.default for field in orders.FIELDS}
            settings = panel(
                orders.FIELDS,
                prefix="animate",
                hidden=orders.irrelevant(start, crew("auto", "auto").renderer),
                highs={"max_seconds": desk.uploads.max_seconds},
                titles=_TITLES,
            )
            hold_uploads(desk, *settings.files)
        with gr.Column(scale=1, min_width=320, elem_classes="lpt-still"):
            out = result(
                "animate", desk, [("run", "Animate")], "Choose a portrait and a video to follow, then Animate."
            )

    async def begin(
        request: gr.Request, made: list[Any], picture: Any, followed: Any, keep_motion: bool, *values: Any
    ) -> AsyncIterator[dict[Any, Any]]:
        def plan() -> Plan:
            options = settings.given(values)
            if (options["max_seconds"] or 0) >= desk.uploads.max_seconds:  # the page's own limit holds anyway
                del options["max_seconds"]
            hidden = _hidden(settings, [options[name] for name in orders.DECIDING])
            wanted = orders.wish(
                picture, followed, chosen(orders.FIELDS, options, hidden), keep_motion=bool(keep_motion)
            )
            return Plan(orders.order(desk, wanted), "animated", "Video", lambda suffix: orders.command(wanted, suffix))

        async for updates in follow(desk, request, out, plan, made):
            yield updates

    given = [out.made, source.file, driving.file, keep, *settings.components]
    out.buttons[0].click(begin, given, out.outputs, concurrency_limit=None, **PRIVATE)
    deciding = [settings.widgets[name] for name in orders.DECIDING]
    gr.on(
        [component.change for component in deciding],
        lambda *values: settings.shown(_hidden(settings, values)),
        deciding,
        settings.everything,
        queue=False,
        **PRIVATE,
    )


def _hidden(settings: Panel, values: Any) -> set[str]:
    deciding = settings.read(orders.DECIDING, values)
    return orders.irrelevant(deciding, crew(deciding["renderer"], "auto").renderer)


def _template(desk: Desk, path: Path) -> str | None:
    """What a motion template is, in a few words; None for anything else. Raises MediaError for a bad one."""
    if path.suffix.lower() not in orders.TEMPLATES:
        return None
    from ..pipelines.driving_clip import open_driving

    with open_driving(path, max_pixels=1, max_seconds=desk.uploads.max_seconds) as clip:
        length = "1 frame" if len(clip) == 1 else f"{len(clip)} frames, {len(clip) / clip.fps:.1f} s"
        return f"motion template, {length}"
