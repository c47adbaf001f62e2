"""The tasks of the worker process, each a call of the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.speakers import FaceName, SpeakerVoice
from ..pipelines.media_check import MediaChecks
from ..progress import OnProgress
from .worker import Task

if TYPE_CHECKING:
    from ..pipelines.animate import Animator
    from ..pipelines.edit import Editor
    from ..pipelines.talk import Talker, Voices
    from .voices import GivenVoice

PREVIEW_SECONDS = 2.0
PREVIEW_SIDE = 640
"""Longest side of a preview, px."""
VIDEO, PICTURE, MOTION = "result.mp4", "result.png", "motion.npz"
"""Output files in the task's folder."""


def run_task(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Run a task. Raises TalkerError for errors that the user can correct."""
    if task.kind in _MEDIA_KINDS:
        on_progress("opening", 0, 1)
        _check_inputs(task.arguments)
    return _KINDS[task.kind](task, on_progress)


def _check_inputs(given: Mapping[str, Any]) -> None:
    """Open the inputs in a child process, as nobody may have looked at those of the API. Raises MediaError."""
    limits = given["setup"] if "setup" in given else given["options"]
    sources = [given.get(name) for name in ("source", "portrait")]
    for name in ("ref_head_pose", "ref_blink", "sample"):
        sources += [getattr(options, name, None) for options in given.values()]
    voices = [voice.file for voice in (given.get("voice"), *given.get("voices", {}).values()) if voice is not None]
    _checks().check(limits, sources=sources, voices=voices, driving=given.get("driving"))


@cache
def _checks() -> MediaChecks:
    return MediaChecks()


def _warm_up(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Import the embedded renderer and create the talker ahead of the first task."""
    from ..render.embedded import renderer  # noqa: F401

    _talker()
    _checks()
    return {}


def _talk(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Make a talking video. Arguments: source, voice, options, preview."""
    voice = _sound_of(task.arguments["voice"], task.folder / "text.wav", on_progress)
    if task.arguments["preview"]:
        voice = write_start(voice, task.folder / "start.wav", task.arguments["options"].max_seconds)
    return _save_talk(task, voice, on_progress)


def _speakers(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Make a video of several speakers. Arguments: source, voices by face, options, preview.

    A preview begins with the first voice; a face whose voice begins later than it ends listens.
    """
    from ..media.audio_file import MIN_VOICE_SECONDS

    given: Mapping[int, GivenVoice] = task.arguments["voices"]
    preview, limit = task.arguments["preview"], task.arguments["options"].max_seconds
    first = min(voice.start_seconds for voice in given.values()) if preview else 0.0
    voices: dict[FaceName, SpeakerVoice] = {}
    for face, voice in given.items():
        start = voice.start_seconds - first
        if preview and start > PREVIEW_SECONDS - MIN_VOICE_SECONDS:  # what is left would be too short
            continue
        file = _sound_of(voice, task.folder / f"face-{face}.wav", on_progress)
        if preview:
            file = write_start(file, task.folder / f"start-{face}.wav", limit, PREVIEW_SECONDS - start)
        voices[face] = SpeakerVoice(file, start)
    return _save_talk(task, voices, on_progress)


def _sound_of(voice: GivenVoice, speech: Path, on_progress: OnProgress) -> Path:
    """Return the file of a voice; a text is spoken into `speech`."""
    if voice.file is not None:
        return voice.file
    from ..audio.speech import speak

    on_progress("speaking the text", 0, 1)
    return speak(voice.text, speech, voice=voice.speech_voice, pace=voice.pace)


def _save_talk(task: Task, voices: Voices, on_progress: OnProgress) -> dict[str, Any]:
    options = task.arguments["options"]
    if task.arguments["preview"]:
        options = dataclasses.replace(options, max_size=min(options.max_size, PREVIEW_SIDE))
    on_progress("opening", 0, 1)
    report = _talker().save(task.arguments["source"], voices, task.folder / VIDEO, options, on_progress=on_progress)
    return report.as_json() | {"output": VIDEO}


def _animate(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Transfer motion to a portrait. Arguments: source, driving, options, keep_motion."""
    from ..media import open_footage
    from ..pipelines.driving_clip import open_driving

    given, options = task.arguments, task.arguments["options"]
    pixels = options.max_pixels
    with (
        open_driving(given["driving"], max_pixels=pixels, max_seconds=options.max_seconds) as clip,
        open_footage(given["source"], max_pixels=pixels, max_seconds=options.max_seconds) as footage,
    ):
        output = PICTURE if footage.is_still and len(clip) == 1 else VIDEO
    report = _animator().save(
        given["source"],
        given["driving"],
        task.folder / output,
        options,
        save_template=task.folder / MOTION if given["keep_motion"] else None,
        on_progress=on_progress,
    )
    return report.as_json() | {"output": output} | ({"extra": MOTION} if given["keep_motion"] else {})


def _edit(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Edit a portrait, or make a clip of keyframes. Arguments: portrait, edit, setup, keyframes."""
    given = task.arguments
    output = PICTURE if given["keyframes"] is None else VIDEO
    report = editor().save(
        given["portrait"],
        task.folder / output,
        given["edit"],
        setup=given["setup"],
        keyframes=given["keyframes"],
        on_progress=on_progress,
    )
    return report.as_json() | {"output": output}


def _download(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Download weights. Arguments: names."""
    from ..weights.download import download_and_convert

    files = [file.name for file, _ in download_and_convert(task.arguments["names"], on_progress=on_progress)]
    return {"downloaded": files}


def write_start(voice: Path, path: Path, max_seconds: float, seconds: float = PREVIEW_SECONDS) -> Path:
    """Write the first `seconds` of a voice to a 16-bit WAV file. Raises MediaError if it cannot be read."""
    from ..media import read_waveform

    read_waveform(voice, max_seconds=max_seconds).first(seconds).write_wav(path)
    return path


@cache  # so that networks stay loaded
def _talker() -> Talker:
    from ..pipelines.talk import Talker

    return Talker()


@cache
def _animator() -> Animator:
    from ..pipelines.animate import Animator

    return Animator()


@cache
def editor() -> Editor:
    """Return the editor of this process."""
    from ..pipelines.edit import Editor

    return Editor()


_MEDIA_KINDS = {"talk": _talk, "speakers": _speakers, "animate": _animate, "edit": _edit}
_KINDS = _MEDIA_KINDS | {"warm up": _warm_up, "models": _download}
