"""Requests for talking videos of one voice or of several speakers, from the tabs and from the API."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.speech import DEFAULT_PACE, DEFAULT_VOICE
from ..errors import OptionError
from ..options.speakers import MAX_SPEAKERS, SINGLE_FACE
from ..options.talk import OLD_NAMES, TalkOptions
from .backend import Backend
from .fields import FILE, SUFFIXES, Field, command_flags, fields_of
from .requests import check_names, check_suffix, job_folder, limited, linked_mouths
from .voices import GivenVoice, Link
from .worker import Task

TALK = fields_of(TalkOptions)
SPEAKERS = tuple(field for field in TALK if field.name not in SINGLE_FACE)
"""Options of a video with several speakers."""
TALK_FILES = tuple(field.name for field in TALK if field.kind == FILE)


@dataclass(frozen=True)
class TalkRequest:
    """A source, a voice and options."""

    source: Path
    voice: GivenVoice
    options: TalkOptions
    preview: bool = False

    @classmethod
    def check(
        cls,
        source: Any,
        voice: Any,
        text: str | None,
        options: Mapping[str, Any],
        *,
        speech_voice: str | None = None,
        pace: float | None = None,
        preview: bool = False,
    ) -> TalkRequest:
        """Create a request from the user's input. Raises OptionError if something is missing or invalid."""
        path = _checked_source(source)
        given = GivenVoice.check(voice, text, speech_voice, pace)
        return cls(path, given, _checked_options(options, TALK), preview)

    def task(self, backend: Backend) -> Task:
        """Create a task with links to the uploads. Raises MediaError for a file that is too large or missing."""
        with job_folder(backend) as (folder, link):
            arguments = {
                "source": link(self.source, "the portrait"),
                "voice": self.voice.linked(link, "the voice"),
                "preview": self.preview,
                "options": limited(_linked_options(self.options, link), backend.uploads.limits),
            }
            return Task("talk", folder, arguments)

    def command(self, suffix: str = ".mp4") -> str:
        """Return the command line that makes the same video."""
        words, voice = ["liveportrait-talker", "generate", self.source.name], self.voice
        if voice.file is not None:
            words.append(voice.file.name)
        else:
            words += ["--text", voice.text]
            if voice.speech_voice != DEFAULT_VOICE:
                words += ["--speech-voice", voice.speech_voice]
            if voice.pace != DEFAULT_PACE:
                words += ["--pace", str(voice.pace)]
        return shlex.join([*words, "-o", f"talk{suffix}", *command_flags(TALK, self.options)])


@dataclass(frozen=True)
class SpeakersRequest:
    """A source, a voice for each of several faces by number, and options."""

    source: Path
    voices: Mapping[int, GivenVoice]
    options: TalkOptions
    preview: bool = False

    @classmethod
    def check(
        cls,
        source: Any,
        voices: Mapping[int, Mapping[str, Any]],
        options: Mapping[str, Any],
        *,
        preview: bool = False,
    ) -> SpeakersRequest:
        """Create a request from the user's input; `voices` are arguments of `GivenVoice.check` by number of the face.

        A face without a sound and without a text listens. Raises OptionError if something is missing or invalid.
        """
        path = _checked_source(source)
        if len(voices) > MAX_SPEAKERS:
            raise OptionError(f"{len(voices)} voices are too many: give at most {MAX_SPEAKERS}.")
        speaking = {
            face: GivenVoice.check(**given)
            for face, given in voices.items()
            if given["voice"] or (given["text"] or "").strip()
        }
        if not speaking:
            raise OptionError("nobody has a voice yet: give one to at least one face, the others listen.")
        return cls(path, speaking, _checked_options(options, SPEAKERS), preview)

    def task(self, backend: Backend) -> Task:
        """Create a task with links to the uploads. Raises MediaError for a file that is too large or missing."""
        with job_folder(backend) as (folder, link):
            arguments = {
                "source": link(self.source, "the picture"),
                "voices": {
                    face: voice.linked(link, f"the voice of face {face}") for face, voice in self.voices.items()
                },
                "preview": self.preview,
                "options": limited(_linked_options(self.options, link), backend.uploads.limits),
            }
            return Task("speakers", folder, arguments)

    def command(self, suffix: str = ".mp4") -> str:
        """Return the command line that makes the same video; typed texts are named as files, with a comment."""
        words, comments = ["liveportrait-talker", "generate", self.source.name], ""
        for face, voice in self.voices.items():
            if voice.file is None:
                comments += f"# write the text of face {face} to face-{face}.wav first: --speaker takes files only\n"
            name = f"face-{face}.wav" if voice.file is None else voice.file.name
            start = f"@{voice.start_seconds:g}" if voice.start_seconds else ""
            words += ["--speaker", f"{face}:{name}{start}"]
        return comments + shlex.join([*words, "-o", f"dialogue{suffix}", *command_flags(SPEAKERS, self.options)])


def _checked_source(source: Any) -> Path:
    if not source:
        raise OptionError("there is no portrait yet: choose a picture or a video with a face.")
    return Path(source)


def _checked_options(options: Mapping[str, Any], fields: tuple[Field, ...]) -> TalkOptions:
    check_names({OLD_NAMES.get(name, name): value for name, value in options.items()}, fields)
    for name in SUFFIXES:
        check_suffix(name, options.get(name))
    return TalkOptions(**options)


def _linked_options(options: TalkOptions, link: Link) -> TalkOptions:
    """Return the options with links to their files in a job's folder."""
    files = {name: path for name in TALK_FILES if (path := getattr(options, name)) is not None}
    linked: dict[str, Any] = {name: link(path, _file_role(name, path)) for name, path in files.items()}
    return linked_mouths(dataclasses.replace(options, **linked), link)


def _file_role(option: str, path: Path) -> str:
    """Return the name of an option's file in a job's folder and in messages."""
    if option in SUFFIXES:  # recognised by their suffix
        return f"the {option.replace('_', ' ')}{path.suffix.lower()}"
    return f"the {option.replace('ref_', 'reference ').replace('_', ' ')} video"
