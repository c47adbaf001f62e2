"""The settings of the Talk and Speakers tabs: the options that have an effect, and the seed of the take."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from .backend import Backend
from .fields import AUTOMATIC, Field, build_widget, parse_values
from .inputs import retain_uploads
from .result import PRIVATE, Plan, ResultColumn, run_job
from .settings_panel import build_settings
from .talk_requests import TALK, SpeakersRequest, TalkRequest
from .visibility import TALK_CONTROLS, head_poses, hidden_talk_options, resolve_engines

_TITLES = {"networks": "Networks (neural renderer, learned lips)", "image": "Picture and crop"}
_DEFAULTS = {field.name: field.default for field in TALK}
_MAX_RANDOM_SEED = 1_000_000
Check = Callable[[bool, bool, Sequence[Any], Mapping[str, Any]], TalkRequest | SpeakersRequest]


class TalkSettings:
    """One widget for each of `fields`, hidden while it has no effect.

    Args:
        backend: the server's state.
        prefix: start of every elem_id.
        fields: the options of the tab.
        is_still: whether the source is a picture.
    """

    def __init__(self, backend: Backend, prefix: str, fields: tuple[Field, ...], is_still: gr.State) -> None:
        seed, random, reuse = _build_seed(prefix)
        self._fields = fields
        self._panel = build_settings(
            fields,
            prefix=prefix,
            hidden=hidden_talk_options(_DEFAULTS, resolve_engines("auto"), is_still=True),
            placed={"seed": seed},
            limits=backend.uploads.limits.of_options,
            titles=_TITLES,
        )
        self.components = self._panel.components
        self.last_seed = gr.State(0)
        """The seed of the last take."""
        retain_uploads(backend, *self._panel.files)
        random.click(lambda: secrets.randbelow(_MAX_RANDOM_SEED), None, seed, queue=False, **PRIVATE)
        reuse.click(lambda seed: seed, self.last_seed, seed, queue=False, **PRIVATE)
        self._connect_visibility(is_still)

    def by_name(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return the values of `components` by the names of their options."""
        return self._panel.by_name(values)

    def parse(self, given: Mapping[str, Any], *, is_still: bool) -> dict[str, Any]:
        """Return the options that have an effect. Raises OptionError for an invalid value."""
        return parse_values(self._fields, given, self._hidden(given, is_still))

    def connect_buttons(
        self, backend: Backend, out: ResultColumn, is_still: gr.State, inputs: Sequence[Any], check: Check, *, name: str
    ) -> None:
        """Let the buttons Preview and Generate run jobs.

        Args:
            backend: the server's state.
            out: of the tab, with these two buttons.
            is_still: whether the source is a picture.
            inputs: components whose values `check` gets.
            check: makes a request from (preview, is_still, values of `inputs`, options by name).
            name: start of the names of downloaded files.
        """

        async def make(preview: bool, request: gr.Request, values: tuple[Any, ...]) -> AsyncIterator[dict[Any, Any]]:
            items, still = values[:2]
            options = self.by_name(values[2 + len(inputs) :])

            def plan() -> Plan:
                talk = check(preview, still, values[2 : 2 + len(inputs)], options)
                file = f"{'preview' if preview else name}-seed{talk.options.seed}"
                return Plan(talk.task(backend), file, "Preview" if preview else "Video", talk.command)

            async for updates in run_job(backend, request, out, plan, items):
                yield updates | ({self.last_seed: options["seed"]} if out.video in updates else {})

        async def preview(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
            async for updates in make(True, request, values):
                yield updates

        async def generate(request: gr.Request, *values: Any) -> AsyncIterator[dict[Any, Any]]:
            async for updates in make(False, request, values):
                yield updates

        given = [out.items, is_still, *inputs, *self.components]
        for button, run in zip(out.buttons, (preview, generate), strict=True):
            button.click(run, given, [*out.outputs, self.last_seed], concurrency_limit=None, **PRIVATE)

    def _hidden(self, given: Mapping[str, Any], is_still: bool) -> set[str]:
        names = [name for name in TALK_CONTROLS if name in self._panel.widgets]
        controls = _DEFAULTS | self._panel.parse(names, [given[name] for name in names])
        if controls["head_pose"] not in (None, *head_poses(is_still)):
            controls["head_pose"] = None
        engines = resolve_engines(controls["renderer"], controls["driver"])
        return hidden_talk_options(controls, engines, is_still=is_still)

    def _connect_visibility(self, is_still: gr.State) -> None:
        """Update the visible settings on a change of a controlling setting or of the kind of source."""
        names = [name for name in TALK_CONTROLS if name in self._panel.widgets]
        controls = [self._panel.widgets[name] for name in names]

        def update(still: bool, *values: Any) -> list[Any]:
            given = dict(zip(names, values, strict=True))
            choices = [AUTOMATIC, *head_poses(still)]
            change: dict[str, Any] = {"choices": choices}
            if given["head_pose"] not in choices:
                change["value"] = AUTOMATIC
            return self._panel.update_visibility(self._hidden(given, still), {"head_pose": change})

        gr.on(
            [is_still.change, *(component.change for component in controls)],
            update,
            [is_still, *controls],
            self._panel.outputs,
            queue=False,
            **PRIVATE,
        )


def _build_seed(prefix: str) -> tuple[Any, gr.Button, gr.Button]:
    field = next(field for field in TALK if field.name == "seed")
    with gr.Row(equal_height=True):
        seed = build_widget(field, prefix=prefix)
        with gr.Column(min_width=150, scale=0):
            random = gr.Button("Random seed", size="sm", elem_id=f"{prefix}-seed-random")
            reuse = gr.Button("Reuse last seed", size="sm", elem_id=f"{prefix}-seed-last")
    return seed, random, reuse
