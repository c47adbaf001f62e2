"""The API of the page for `gradio_client`: `/talk`, `/speakers`, `/animate`, `/edit`; see `liveportrait_talker.ui`."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import OptionError, TalkerError
from .backend import Backend, owner_of
from .fields import uploaded
from .folders import hide_folders
from .jobs import DONE, FAILED
from .requests import AnimateRequest, EditRequest
from .talk_requests import TALK_FILES, SpeakersRequest, TalkRequest
from .worker import Task, internal_error

_log = logging.getLogger(__name__)
_SERVER_KEYS = ("path", "output", "extra", "template")
"""Keys of reports whose values are files of the server."""
_Steps = AsyncIterator[tuple[str | None, dict[str, Any]]]


def build(backend: Backend) -> None:
    """Build the endpoints; their components are not visible on the page."""
    _build_talk(backend)
    _build_speakers(backend)
    _build_animate(backend)
    _build_edit(backend)


def _build_talk(backend: Backend) -> None:
    async def talk(
        request: gr.Request,
        source: str,
        voice: str | None = None,
        text: str = "",
        options: dict[str, Any] | None = None,
        ref_head_pose: str | None = None,
        ref_blink: str | None = None,
        mapping: str | None = None,
        expression_keys: str | None = None,
        speech_voice: str = "",
        pace: float = 0,
        mouth_from: list[str] | None = None,
    ) -> _Steps:
        """A talking video from a portrait and a voice or a text, and its report. `options` are TalkOptions by name."""

        files: dict[str, Any] = {"ref_head_pose": ref_head_pose, "ref_blink": ref_blink, "mapping": mapping}
        files |= {"expression_keys": expression_keys, "mouth_from": mouth_from}

        def make_task() -> Task:
            given = _with_files(options, files)
            typed = None if voice or not text else text
            return TalkRequest.check(source, voice, typed, given, speech_voice=speech_voice, pace=pace).task(backend)

        async for step in _run(backend, request, make_task, [source, voice, *files.values()], "talk"):
            yield step

    inputs = [
        *_files("source", "voice"),
        gr.Textbox(label="text", visible=False, value=""),
        _json("options"),
        *_files(*TALK_FILES),
        gr.Textbox(label="speech voice", visible=False, value=""),
        gr.Number(label="pace", visible=False, value=0),
        _several_files("mouth from"),
    ]
    _endpoint("talk", talk, inputs, "video")


def _build_speakers(backend: Backend) -> None:
    async def speakers(
        request: gr.Request,
        source: str,
        voices: list[str] | None = None,
        faces: list[int] | None = None,
        starts: list[float] | None = None,
        options: dict[str, Any] | None = None,
        ref_head_pose: str | None = None,
        ref_blink: str | None = None,
        mapping: str | None = None,
        expression_keys: str | None = None,
        mouth_from: list[str] | None = None,
    ) -> _Steps:
        """A video of several speakers, and its report. Voice k is said by `faces[k]`, from `starts[k]` seconds on."""

        files: dict[str, Any] = {"ref_head_pose": ref_head_pose, "ref_blink": ref_blink, "mapping": mapping}
        files |= {"expression_keys": expression_keys, "mouth_from": mouth_from}

        def make_task() -> Task:
            given = _voices_by_face(voices or [], faces, starts)
            return SpeakersRequest.check(source, given, _with_files(options, files)).task(backend)

        async for step in _run(backend, request, make_task, [source, voices, *files.values()], "dialogue"):
            yield step

    inputs = [*_files("source"), _several_files("voices"), _json("faces"), _json("starts"), _json("options")]
    inputs += [*_files(*TALK_FILES), _several_files("mouth from")]
    _endpoint("speakers", speakers, inputs, "video")


def _voices_by_face(voices: list[str], faces: Any, starts: Any) -> dict[int, dict[str, Any]]:
    """Return the arguments of `GivenVoice.check` by number of the face. Raises OptionError for lists that don't fit."""
    numbers = faces or list(range(1, len(voices) + 1))
    seconds = starts or [0] * len(voices)
    for name, given in (("faces", numbers), ("starts", seconds)):
        if not isinstance(given, list) or len(given) != len(voices):
            raise OptionError(f"{name} is a list with one entry for each voice; voices given: {len(voices)}.")
    if not all(type(number) is int and number >= 1 for number in numbers) or len(set(numbers)) < len(numbers):
        raise OptionError(f"faces are different numbers from 1 on, the largest face is 1, not {numbers}.")
    return {
        number: {"voice": voice, "text": None, "speech_voice": None, "pace": None, "start_seconds": start}
        for number, voice, start in zip(numbers, voices, seconds, strict=True)
    }


def _build_animate(backend: Backend) -> None:
    async def animate(
        request: gr.Request,
        source: str,
        driving: str,
        options: dict[str, Any] | None = None,
        mouth_from: list[str] | None = None,
    ) -> _Steps:
        """A portrait that follows a video, a picture or a template, and the report. `options` are AnimateOptions."""

        def make_task() -> Task:
            given = _with_files(options, {"mouth_from": mouth_from})
            return AnimateRequest.check(source, driving, given).task(backend)

        async for step in _run(backend, request, make_task, [source, driving, mouth_from], "animated"):
            yield step

    inputs = [*_files("source", "driving"), _json("options"), _several_files("mouth from")]
    _endpoint("animate", animate, inputs, "video")


def _build_edit(backend: Backend) -> None:
    async def change(
        request: gr.Request,
        portrait: str,
        edit: dict[str, Any] | None = None,
        setup: dict[str, Any] | None = None,
        sample: str | None = None,
        keyframes: str | None = None,
        mouth_from: list[str] | None = None,
    ) -> _Steps:
        """A portrait with another expression (or a clip), and the report. `edit` are EditOptions, `setup` EditSetup."""

        def make_task() -> Task:
            given = _with_files(edit, {"sample": sample})
            how = _with_files(setup, {"mouth_from": mouth_from})
            return EditRequest.check(portrait, given, how, keyframes).task(backend)

        async for step in _run(backend, request, make_task, [portrait, sample, keyframes, mouth_from], "edited"):
            yield step

    inputs = [*_files("portrait"), _json("edit"), _json("setup"), *_files("sample", "keyframes")]
    inputs.append(_several_files("mouth from"))
    _endpoint("edit", change, inputs, "picture")


def _files(*labels: str) -> list[gr.File]:
    return [gr.File(label=label, visible=False) for label in labels]


def _several_files(label: str) -> gr.File:
    return gr.File(label=label, visible=False, file_count="multiple")


def _json(label: str) -> gr.JSON:
    return gr.JSON(label=label, visible=False, value={})


def _endpoint(name: str, function: Callable[..., Any], inputs: list[Any], output: str) -> None:
    outputs = [*_files(output), gr.JSON(label="report", visible=False)]
    gr.Button(visible=False).click(function, inputs, outputs, api_name=name, concurrency_limit=None)


async def _run(
    backend: Backend, request: gr.Request, make_task: Callable[[], Task], files: list[Any], name: str
) -> _Steps:
    """Run a job: yield (None, progress) until (path of the output, report).

    Args:
        backend: the server's state.
        request: the call.
        make_task: called in a thread; may raise TalkerError.
        files: the uploads of this call, each one or a list, kept until its end.
        name: name of the output, without its suffix.

    Raises:
        gr.Error: an error, with its message.
    """
    uploads, call_id = backend.uploads, f"api-{secrets.token_hex(8)}"
    for path in (path for given in files for path in uploaded(given)):
        uploads.retain(path, call_id)
    try:
        job = await backend.submit(make_task, owner_of(request), "api")
        async with aclosing(backend.watch(job)) as steps:
            async for _ in steps:
                yield None, {"stage": job.stage, "done": job.done, "total": job.total, "ahead": job.ahead}
        if job.state == FAILED:
            raise TalkerError(job.error)
        if job.state != DONE:
            raise TalkerError("stopped; nothing was kept.")
        output = job.task.folder / str(job.result["output"])
        try:
            path = uploads.serve_result(output, name + output.suffix, owner_of(request))
        finally:
            shutil.rmtree(job.task.folder, ignore_errors=True)
        yield str(path), _public_report(job.result)
    except TalkerError as error:
        raise gr.Error(hide_folders(str(error)), print_exception=False) from None
    except Exception as error:
        _log.exception("an API call failed")
        raise gr.Error(hide_folders(internal_error(error)), print_exception=False) from None
    finally:
        uploads.release(call_id)


def _with_files(options: dict[str, Any] | None, files: Mapping[str, str | list[str] | None]) -> dict[str, Any]:
    """Add uploaded files to options. Raises OptionError for a path in the options, which could be any of the server."""
    if not isinstance(options, (dict, type(None))):
        raise OptionError("options are given by name, as a JSON object.")
    given = dict(options or {})
    for name in files:
        if name in given:
            raise OptionError(f"{name} is a file: upload it as `{name}=handle_file(…)`, not in the options.")
    paths = {name: uploaded(file) if isinstance(file, list) else Path(file) for name, file in files.items() if file}
    return given | paths


def _public_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report without folders of the server: of paths, at any depth, only the file names."""

    def strip(value: Any) -> Any:
        if isinstance(value, Path):
            return value.name
        if isinstance(value, str):
            return hide_folders(value)
        if isinstance(value, Mapping):
            return {key: strip(item) for key, item in value.items()}
        return [strip(item) for item in value] if isinstance(value, (list, tuple)) else value

    return {key: strip(value) for key, value in report.items() if key not in _SERVER_KEYS}
