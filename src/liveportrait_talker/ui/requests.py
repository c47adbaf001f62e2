"""Requests for talking videos, animations and edits, from the tabs and from the API.

Each class checks the input (`check`), links the uploads into a job's folder (`task`) and writes the equivalent
command line (`command`).
"""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..audio.speech import DEFAULT_PACE, DEFAULT_VOICE, check_text
from ..errors import OptionError
from ..options.animate import AnimateOptions, is_template_name
from ..options.background import KEEP, parse_background
from ..options.edit import EditOptions, EditSetup
from ..options.talk import OLD_NAMES, TalkOptions
from .backend import Backend
from .fields import FILE, SUFFIXES, Field, command_flags, fields_of
from .uploads import UploadLimits, mouth_names
from .worker import Task

TALK, ANIMATE = fields_of(TalkOptions), fields_of(AnimateOptions)
EDIT, SETUP = fields_of(EditOptions), fields_of(EditSetup)
TALK_FILES = tuple(field.name for field in TALK if field.kind == FILE)
_WRONG_SUFFIX = {
    "mapping": "the mapping must be a .safetensors file, as `liveportrait-talker export` writes it.",
    "expression_keys": "the keyframes must be a .json or a .csv file: rename it, or choose another.",
}


@dataclass(frozen=True)
class TalkRequest:
    """A source, a voice or a text, and options."""

    source: Path
    voice: Path | None
    text: str
    options: TalkOptions
    speech_voice: str = DEFAULT_VOICE
    pace: int = DEFAULT_PACE
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
        if not source:
            raise OptionError("there is no portrait yet: choose a picture or a video with a face.")
        if not voice:
            if text is None:
                raise OptionError("there is no voice yet: choose a sound, record one, or type a text.")
            check_text(text)
        _check_names({OLD_NAMES.get(name, name): value for name, value in options.items()}, TALK)
        for name in _WRONG_SUFFIX:
            _check_suffix(name, options.get(name))
        return cls(
            source=Path(source),
            voice=Path(voice) if voice else None,
            text="" if voice else text or "",
            options=TalkOptions(**options),
            speech_voice=speech_voice or DEFAULT_VOICE,
            pace=int(pace or DEFAULT_PACE),
            preview=preview,
        )

    def task(self, backend: Backend) -> Task:
        """Create a task with links to the uploads. Raises MediaError for a file that is too large or missing."""
        with _job_folder(backend) as (folder, link):
            changes: dict[str, Any] = {}
            for name in TALK_FILES:
                path = getattr(self.options, name)
                if path is not None:
                    changes[name] = link(path, _file_role(name, path))
            options = _linked_mouths(dataclasses.replace(self.options, **changes), link)
            arguments = {
                "source": link(self.source, "the portrait"),
                "voice": None if self.voice is None else link(self.voice, "the voice"),
                "text": self.text,
                "speech_voice": self.speech_voice,
                "pace": self.pace,
                "preview": self.preview,
                "options": limited(options, backend.uploads.limits),
            }
            return Task("talk", folder, arguments)

    def command(self, suffix: str = ".mp4") -> str:
        """Return the command line that makes the same video."""
        words = ["liveportrait-talker", "generate", self.source.name]
        if self.voice is not None:
            words.append(self.voice.name)
        else:
            words += ["--text", self.text]
            if self.speech_voice != DEFAULT_VOICE:
                words += ["--speech-voice", self.speech_voice]
            if self.pace != DEFAULT_PACE:
                words += ["--pace", str(self.pace)]
        return shlex.join([*words, "-o", f"talk{suffix}", *command_flags(TALK, self.options)])


@dataclass(frozen=True)
class AnimateRequest:
    """A source, a driving video, picture or motion template, and options."""

    source: Path
    driving: Path
    options: AnimateOptions
    keep_motion: bool = False

    @classmethod
    def check(
        cls, source: Any, driving: Any, options: Mapping[str, Any], *, keep_motion: bool = False
    ) -> AnimateRequest:
        """Create a request from the user's input. Raises OptionError if something is missing or invalid."""
        if not source:
            raise OptionError("there is no portrait yet: choose a picture or a video with a face.")
        if not driving:
            raise OptionError("there is nothing to follow yet: choose a video, a picture or a motion template.")
        _check_names(options, ANIMATE)
        return cls(Path(source), Path(driving), AnimateOptions(**options), keep_motion)

    def task(self, backend: Backend) -> Task:
        """Create a task with links to the uploads. Raises MediaError for a file that is too large or missing."""
        suffix = self.driving.suffix.lower()  # a motion template is recognised by its suffix
        with _job_folder(backend) as (folder, link):
            role = f"the motion{suffix}" if is_template_name(self.driving) else "the driving video"
            arguments = {
                "source": link(self.source, "the portrait"),
                "driving": link(self.driving, role),
                "options": limited(_linked_mouths(self.options, link), backend.uploads.limits),
                "keep_motion": self.keep_motion,
            }
            return Task("animate", folder, arguments)

    def command(self, suffix: str) -> str:
        """Return the command line that makes the same video (`suffix` .mp4) or picture (.png)."""
        words = ["liveportrait-talker", "animate", self.source.name, self.driving.name, "-o", f"animated{suffix}"]
        if self.keep_motion:
            words += ["--save-template", "motion.npz"]
        return shlex.join([*words, *command_flags(ANIMATE, self.options)])


@dataclass(frozen=True)
class EditRequest:
    """A portrait, an expression, the setup, and for a clip the keyframes."""

    portrait: Path
    edit: EditOptions
    setup: EditSetup
    keyframes: Path | None = None

    @classmethod
    def check(
        cls, portrait: Any, edit: Mapping[str, Any], setup: Mapping[str, Any], keyframes: Any = None
    ) -> EditRequest:
        """Create a request from the user's input. Raises OptionError if something is missing or invalid."""
        if not portrait:
            raise OptionError("there is no portrait yet: choose a picture with a face.")
        _check_names(edit, EDIT)
        _check_names(setup, SETUP)
        path = None if not keyframes else Path(keyframes)
        _check_suffix("expression_keys", path)
        return cls(Path(portrait), EditOptions(**edit), EditSetup(**setup), path)

    def task(self, backend: Backend) -> Task:
        """Create a task with links to the uploads. Raises MediaError for a file that is too large or missing."""
        with _job_folder(backend) as (folder, link):
            edit, keyframes = self.edit, self.keyframes
            if edit.sample is not None:
                edit = dataclasses.replace(edit, sample=link(edit.sample, "the sample"))
            if keyframes is not None:
                keyframes = link(keyframes, f"the keyframes{keyframes.suffix.lower()}")
            portrait = link(self.portrait, "the portrait")
            setup = limited(_linked_mouths(self.setup, link), backend.uploads.limits)
            arguments = {"portrait": portrait, "edit": edit, "setup": setup, "keyframes": keyframes}
            return Task("edit", folder, arguments)

    def command(self, suffix: str) -> str:
        """Return the command line that makes the same picture (`suffix` .png) or clip (.mp4)."""
        words = ["liveportrait-talker", "edit", self.portrait.name, "-o", f"edited{suffix}"]
        if self.keyframes is not None:
            words += ["--keyframes", self.keyframes.name]
        return shlex.join([*words, *command_flags(EDIT, self.edit), *command_flags(SETUP, self.setup)])


def _check_names(options: Mapping[str, Any], fields: tuple[Field, ...]) -> None:
    if not isinstance(options, Mapping):
        raise OptionError("options are given by name, as a JSON object.")
    names = {field.name for field in fields}
    if unknown := sorted(set(options) - names):
        raise OptionError(f"there is no option {unknown[0]!r}: the names are {', '.join(sorted(names))}.")
    behind = parse_background(str(options.get("background", KEEP)))
    if behind is not None and behind.colour is None:  # a name would be that of a file of the server
        raise OptionError("on this page the background is keep or a colour: the command line has the rest.")


_Limited = TypeVar("_Limited", TalkOptions, AnimateOptions, EditSetup)


def _linked_mouths(options: _Limited, link: Callable[[Path, str], Path]) -> _Limited:
    """Return the options with links to the files of `mouth_from`."""
    links = tuple(link(path, name) for name, path in mouth_names(options.mouth_from))
    return dataclasses.replace(options, mouth_from=links)


def limited(options: _Limited, limits: UploadLimits) -> _Limited:
    """Return the options with the server's limits of durations and sizes."""
    lowered = {name: min(getattr(options, name), limit) for name, limit in limits.of_options.items()}
    return dataclasses.replace(options, **lowered)


@contextmanager
def _job_folder(backend: Backend) -> Iterator[tuple[Path, Callable[[Path, str], Path]]]:
    """Yield a new job folder, removed on an error, and a function that links an upload into it by role."""
    backend.uploads.require_space()
    folder = backend.jobs.new_folder()

    def link(path: Path, role: str) -> Path:
        backend.uploads.check_size(path)
        return backend.uploads.link(path, folder, role)

    try:
        yield folder, link
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_suffix(option: str, path: Path | str | None) -> None:
    """Raise OptionError for a file whose suffix is not one of the option's."""
    if path is not None and Path(path).suffix.lower() not in SUFFIXES[option]:
        raise OptionError(_WRONG_SUFFIX[option])


def _file_role(option: str, path: Path) -> str:
    """Return the name of an option's file in a job's folder and in messages."""
    if option in SUFFIXES:  # recognised by their suffix
        return f"the {option.replace('_', ' ')}{path.suffix.lower()}"
    return f"the {option.replace('ref_', 'reference ').replace('_', ' ')} video"
