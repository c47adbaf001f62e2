"""From what a user gave to an order for the worker: shared by the Talk tab and the API."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.speech import DEFAULT_PACE, DEFAULT_VOICE, check_text
from ..errors import OptionError
from ..options.talk import TalkOptions
from .desk import Desk
from .fields import SUFFIXES, command_flags, fields_of
from .worker import Order

FIELDS = fields_of(TalkOptions)
FILES = tuple(field.name for field in FIELDS if field.kind == "file")


@dataclass(frozen=True)
class Wish:
    """What a user wants: a source, a voice or a text, and the options."""

    source: Path
    voice: Path | None
    text: str
    options: TalkOptions
    speech_voice: str = DEFAULT_VOICE
    pace: int = DEFAULT_PACE
    preview: bool = False


def wish(
    source: Any,
    voice: Any,
    text: str | None,
    options: Mapping[str, Any],
    *,
    speech_voice: str | None = None,
    pace: float | None = None,
    preview: bool = False,
) -> Wish:
    """Check what was given. Raises OptionError in one sentence."""
    if not source:
        raise OptionError("there is no portrait yet: choose a picture or a video with a face.")
    if not voice:
        if text is None:
            raise OptionError("there is no voice yet: choose a sound, record one, or type a text.")
        check_text(text)
    known = {field.name for field in FIELDS}
    if unknown := sorted(set(options) - known):
        raise OptionError(f"there is no option {unknown[0]!r}: the names are {', '.join(sorted(known))}.")
    mapping = options.get("mapping")
    if mapping is not None and Path(mapping).suffix.lower() not in SUFFIXES["mapping"]:
        raise OptionError("the mapping must be a .safetensors file, as `liveportrait-talker export` writes it.")
    return Wish(
        source=Path(source),
        voice=Path(voice) if voice else None,
        text="" if voice else text or "",
        options=TalkOptions(**options),
        speech_voice=speech_voice or DEFAULT_VOICE,
        pace=int(pace or DEFAULT_PACE),
        preview=preview,
    )


def order(desk: Desk, wanted: Wish) -> Order:
    """An order with files of its own. Raises MediaError for a file over the limit."""
    folder = desk.jobs.new_folder()
    try:
        options: dict[str, Any] = {"max_seconds": min(wanted.options.max_seconds, desk.uploads.max_seconds)}
        for name in FILES:
            path = getattr(wanted.options, name)
            if path is not None:
                desk.uploads.check_size(path)
                options[name] = desk.uploads.lend(path, folder, _plain_name(name))
        desk.uploads.check_size(wanted.source)
        details: dict[str, Any] = {
            "source": desk.uploads.lend(wanted.source, folder, "the portrait"),
            "voice": None,
            "text": wanted.text,
            "speech_voice": wanted.speech_voice,
            "pace": wanted.pace,
            "preview": wanted.preview,
            "options": dataclasses.replace(wanted.options, **options),
        }
        if wanted.voice is not None:
            desk.uploads.check_size(wanted.voice)
            details["voice"] = desk.uploads.lend(wanted.voice, folder, "the voice")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Order("talk", folder, details)


def command(wanted: Wish) -> str:
    """The command line that makes the same video."""
    words = ["liveportrait-talker", "generate", wanted.source.name]
    if wanted.voice is not None:
        words.append(wanted.voice.name)
    else:
        words += ["--text", wanted.text]
        if wanted.speech_voice != DEFAULT_VOICE:
            words += ["--speech-voice", wanted.speech_voice]
        if wanted.pace != DEFAULT_PACE:
            words += ["--pace", str(wanted.pace)]
    words += ["-o", "talk.mp4", *command_flags(FIELDS, wanted.options, lambda path: path.name)]
    return shlex.join(words)


def _plain_name(option: str) -> str:
    """What an uploaded file is called in messages. Weights are told by their suffix, too."""
    if option == "mapping":
        return "the mapping.safetensors"
    return f"the {option.replace('ref_', 'reference ').replace('_', ' ')} video"
