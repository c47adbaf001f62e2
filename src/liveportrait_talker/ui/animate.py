"""The Animate tab: a portrait (or a video) follows the motion of another video."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from .backend import Backend
from .fields import parse_values
from .inputs import retain_uploads, source_input
from .requests import ANIMATE, AnimateRequest
from .result import PRIVATE, Plan, build_result, run_job
from .settings_panel import SettingsPanel, build_settings
from .visibility import ANIMATE_CONTROLS, hidden_animate_options, resolve_engines

_TITLES = {"networks": "Networks (neural renderer)", "image": "Picture and crop"}


def build(backend: Backend) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            source = source_input("animate", "source", "Portrait, or a video with a face", backend, "the portrait")
            driving = source_input(
                "animate",
                "driving",
                "Video, picture or template to follow",
                backend,
                "the driving video",
                templates=True,
            )
            keep = gr.Checkbox(
                label="Keep the motion",
                info="As a motion template, which can be followed again without the video.",
                elem_id="animate-keep",
            )
            settings = build_settings(
                ANIMATE,
                prefix="animate",
                hidden=hidden_animate_options({f.name: f.default for f in ANIMATE}, resolve_engines("auto").renderer),
                limits=backend.uploads.limits.of_options,
                titles=_TITLES,
            )
            retain_uploads(backend, *settings.files)
        with gr.Column(scale=1, min_width=280, elem_classes="lpt-still"):
            hint = "Choose a portrait and a video to follow, then Animate."
            out = build_result("animate", backend, [("run", "Animate")], hint)

    async def run(
        request: gr.Request, items: list[Any], source: Any, driving: Any, keep_motion: bool, *values: Any
    ) -> AsyncIterator[dict[Any, Any]]:
        options = settings.by_name(values)

        def plan() -> Plan:
            hidden = _hidden(settings, [options[name] for name in ANIMATE_CONTROLS])
            animate = AnimateRequest.check(
                source, driving, parse_values(ANIMATE, options, hidden), keep_motion=bool(keep_motion)
            )
            return Plan(animate.task(backend), "animated", "Video", animate.command)

        async for updates in run_job(backend, request, out, plan, items):
            yield updates

    inputs = [out.items, source.file, driving.file, keep, *settings.components]
    out.buttons[0].click(run, inputs, out.outputs, concurrency_limit=None, **PRIVATE)
    controls = [settings.widgets[name] for name in ANIMATE_CONTROLS]
    gr.on(
        [component.change for component in controls],
        lambda *values: settings.update_visibility(_hidden(settings, values)),
        controls,
        settings.outputs,
        queue=False,
        **PRIVATE,
    )


def _hidden(settings: SettingsPanel, values: Any) -> set[str]:
    controls = settings.parse(ANIMATE_CONTROLS, values)
    return hidden_animate_options(controls, resolve_engines(controls["renderer"]).renderer)
