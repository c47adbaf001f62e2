"""What `gradio_client` can call: `/talk`, `/animate`, `/edit`, options by name; `liveportrait_talker.ui` shows how."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import OptionError, TalkerError
from . import animate_orders, edit_orders, talk_orders
from .desk import Desk, owner
from .jobs import DONE, FAILED
from .talk_orders import FILES
from .uploads import Uploads
from .worker import Order

_log = logging.getLogger(__name__)
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^/\s'\"]+/)+")
"""Of an absolute path, but not of an address."""
_UPLOAD = "{0} is a file: upload it as `{0}=handle_file(…)`, not in the options."


def build(desk: Desk) -> None:
    """The endpoints, which have no widgets on the page."""
    _build_talk(desk)
    _build_animate(desk)
    _build_edit(desk)


def _build_talk(desk: Desk) -> None:
    files = [gr.File(label=label, visible=False) for label in ("source", "voice", *FILES)]
    text = gr.Textbox(label="text", visible=False, value="")
    options = gr.JSON(label="options", visible=False, value={})
    video, report = gr.File(label="video", visible=False), gr.JSON(label="report", visible=False)

    async def talk(
        request: gr.Request,
        source: str,
        voice: str | None = None,
        text: str = "",
        options: dict[str, Any] | None = None,
        ref_head_pose: str | None = None,
        ref_blink: str | None = None,
        mapping: str | None = None,
        speech_voice: str = "",
        pace: float = 0,
    ) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """A talking video from a portrait and a voice or a text, and its report. `options` are TalkOptions by name."""

        def ordered() -> Order:
            given = _own_files(options, {"ref_head_pose": ref_head_pose, "ref_blink": ref_blink, "mapping": mapping})
            said = None if voice or not text else text
            return talk_orders.order(
                desk, talk_orders.wish(source, voice, said, given, speech_voice=speech_voice, pace=pace)
            )

        held = [Path(path) for path in (source, voice, ref_head_pose, ref_blink, mapping) if path]
        async for step in run(desk, request, ordered, held, "talk"):
            yield step

    said = [gr.Textbox(label="speech voice", visible=False, value=""), gr.Number(label="pace", visible=False, value=0)]
    _endpoint("talk", talk, [files[0], files[1], text, options, *files[2:], *said], [video, report])


def _build_animate(desk: Desk) -> None:
    source, driving = gr.File(label="source", visible=False), gr.File(label="driving", visible=False)
    options = gr.JSON(label="options", visible=False, value={})
    video, report = gr.File(label="video", visible=False), gr.JSON(label="report", visible=False)

    async def animate(
        request: gr.Request, source: str, driving: str, options: dict[str, Any] | None = None
    ) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """A portrait that follows a video, a picture or a template, and the report. `options` are AnimateOptions."""

        def ordered() -> Order:
            return animate_orders.order(desk, animate_orders.wish(source, driving, options or {}))

        async for step in run(desk, request, ordered, [Path(path) for path in (source, driving) if path], "animated"):
            yield step

    _endpoint("animate", animate, [source, driving, options], [video, report])


def _build_edit(desk: Desk) -> None:
    files = [gr.File(label=label, visible=False) for label in ("portrait", "sample", "keyframes")]
    edit = gr.JSON(label="edit", visible=False, value={})
    setup = gr.JSON(label="setup", visible=False, value={})
    made, report = gr.File(label="picture", visible=False), gr.JSON(label="report", visible=False)

    async def change(
        request: gr.Request,
        portrait: str,
        edit: dict[str, Any] | None = None,
        setup: dict[str, Any] | None = None,
        sample: str | None = None,
        keyframes: str | None = None,
    ) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
        """A portrait with another expression (or a clip), and the report. `edit` are EditOptions, `setup` EditSetup."""

        def ordered() -> Order:
            given = dict(edit or {})
            if "sample" in given:
                raise OptionError(_UPLOAD.format("sample"))
            if sample:
                given["sample"] = Path(sample)
            return edit_orders.order(desk, edit_orders.wish(portrait, given, setup or {}, keyframes))

        held = [Path(path) for path in (portrait, sample, keyframes) if path]
        async for step in run(desk, request, ordered, held, "edited"):
            yield step

    _endpoint("edit", change, [files[0], edit, setup, files[1], files[2]], [made, report])


def _endpoint(name: str, function: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    trigger = gr.Button(visible=False)
    trigger.click(function, inputs, outputs, api_name=name, concurrency_limit=None)


async def run(
    desk: Desk, request: gr.Request, ordered: Callable[[], Order], held: list[Path], name: str
) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
    """(None, where the job stands) until (the video, its report). Raises gr.Error in one sentence."""
    caller = f"api-{secrets.token_hex(8)}"
    for path in held:
        desk.uploads.hold(path, caller)
    try:
        ticket = await desk.hand_in(ordered, owner(request), "api")
        async with aclosing(desk.follow(ticket)) as steps:
            async for _ in steps:
                yield None, {"stage": ticket.stage, "done": ticket.done, "total": ticket.total, "ahead": ticket.ahead}
        if ticket.state == FAILED:
            raise TalkerError(ticket.error)
        if ticket.state != DONE:
            raise TalkerError("stopped; nothing was kept.")
        produced = ticket.order.folder / str(ticket.result["made"])
        try:
            made = desk.uploads.keep(produced, name + produced.suffix, owner(request))
        finally:
            shutil.rmtree(ticket.order.folder, ignore_errors=True)
        yield str(made), _plain(ticket.result, desk.uploads)
    except TalkerError as error:
        raise gr.Error(desk.uploads.names_only(str(error)), print_exception=False) from None
    except Exception as error:
        _log.exception("a call could not be answered")
        told = f"something went wrong that should not have ({type(error).__name__}: {error})."
        raise gr.Error(desk.uploads.names_only(told), print_exception=False) from None
    finally:
        desk.uploads.release(caller)


def _own_files(options: dict[str, Any] | None, files: dict[str, str | None]) -> dict[str, Any]:
    """Options with the uploaded files; a path of this machine in `options` is refused. Raises OptionError."""
    given = dict(options or {})
    for name in FILES:
        if name in given:
            raise OptionError(_UPLOAD.format(name))
    return given | {name: Path(path) for name, path in files.items() if path}


def _plain(report: Mapping[str, Any], uploads: Uploads) -> dict[str, Any]:
    """Without folders of this machine: of files in it, at any depth, the names are left."""

    def named(value: Any) -> Any:
        if isinstance(value, Path):
            return value.name
        if isinstance(value, str):
            return _FOLDERS.sub("", uploads.names_only(value))
        if isinstance(value, Mapping):
            return {key: named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, (list, tuple)) else value

    hidden = ("path", "made", "extra", "template")
    return {key: named(value) for key, value in report.items() if key not in hidden}
