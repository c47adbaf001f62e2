"""Requests for animations and edits, from the tabs and from the API; those for talking videos are in `talk_requests`.

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

from ..errors import OptionError
from ..options.animate import AnimateOptions, is_template_name
from ..options.background import KEEP, parse_background
from ..options.edit import EditOptions, EditSetup
from ..options.talk import TalkOptions
from .backend import Backend
from .fields import SUFFIXES, Field, command_flags, fields_of
from .uploads import UploadLimits, mouth_names
from .worker import Task

ANIMATE, EDIT, SETUP = fields_of(AnimateOptions), fields_of(EditOptions), fields_of(EditSetup)
_WRONG_SUFFIX = {
    "mapping": "the mapping must be a .safetensors file, as `liveportrait-talker export` writes it.",
    "expression_keys": "the keyframes must be a .json or a .csv file: rename it, or choose another.",
}


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
        check_names(options, ANIMATE)
        return cls(Path(source), Path(driving), AnimateOptions(**options), keep_motion)

    def task(self, backend: Backend) -> Task:
        """Create a task with links to the uploads. Raises MediaError for a file that is too large or missing."""
        suffix = self.driving.suffix.lower()  # a motion template is recognised by its suffix
        with job_folder(backend) as (folder, link):
            role = f"the motion{suffix}" if is_template_name(self.driving) else "the driving video"
            arguments = {
                "source": link(self.source, "the portrait"),
                "driving": link(self.driving, role),
                "options": limited(linked_mouths(self.options, link), backend.uploads.limits),
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
        check_names(edit, EDIT)
        check_names(setup, SETUP)
        path = None if not keyframes else Path(keyframes)
        check_suffix("expression_keys", path)
        return cls(Path(portrait), EditOptions(**edit), EditSetup(**setup), path)

    def task(self, backend: Backend) -> Task:
        """Create a task with links to the uploads. Raises MediaError for a file that is too large or missing."""
        with job_folder(backend) as (folder, link):
            edit, keyframes = self.edit, self.keyframes
            if edit.sample is not None:
                edit = dataclasses.replace(edit, sample=link(edit.sample, "the sample"))
            if keyframes is not None:
                keyframes = link(keyframes, f"the keyframes{keyframes.suffix.lower()}")
            portrait = link(self.portrait, "the portrait")
            setup = limited(linked_mouths(self.setup, link), backend.uploads.limits)
            arguments = {"portrait": portrait, "edit": edit, "setup": setup, "keyframes": keyframes}
            return Task("edit", folder, arguments)

    def command(self, suffix: str) -> str:
        """Return the command line that makes the same picture (`suffix` .png) or clip (.mp4)."""
        words = ["liveportrait-talker", "edit", self.portrait.name, "-o", f"edited{suffix}"]
        if self.keyframes is not None:
            words += ["--keyframes", self.keyframes.name]
        return shlex.join([*words, *command_flags(EDIT, self.edit), *command_flags(SETUP, self.setup)])


def check_names(options: Mapping[str, Any], fields: tuple[Field, ...]) -> None:
    """Raise OptionError for an unknown option, or a background that would be a file of the server."""
    if not isinstance(options, Mapping):
        raise OptionError("options are given by name, as a JSON object.")
    names = {field.name for field in fields}
    if unknown := sorted(set(options) - names):
        raise OptionError(f"there is no option {unknown[0]!r}: the names are {', '.join(sorted(names))}.")
    behind = parse_background(str(options.get("background", KEEP)))
    if behind is not None and behind.colour is None:  # a name would be that of a file of the server
        raise OptionError("on this page the background is keep or a colour: the command line has the rest.")


_Limited = TypeVar("_Limited", TalkOptions, AnimateOptions, EditSetup)


def linked_mouths(options: _Limited, link: Callable[[Path, str], Path]) -> _Limited:
    """Return the options with links to the files of `mouth_from`."""
    links = tuple(link(path, name) for name, path in mouth_names(options.mouth_from))
    return dataclasses.replace(options, mouth_from=links)


def limited(options: _Limited, limits: UploadLimits) -> _Limited:
    """Return the options with the server's limits of durations and sizes."""
    lowered = {name: min(getattr(options, name), limit) for name, limit in limits.of_options.items()}
    return dataclasses.replace(options, **lowered)


@contextmanager
def job_folder(backend: Backend) -> Iterator[tuple[Path, Callable[[Path, str], Path]]]:
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


def check_suffix(option: str, path: Path | str | None) -> None:
    """Raise OptionError for a file whose suffix is not one of the option's."""
    if path is not None and Path(path).suffix.lower() not in SUFFIXES[option]:
        raise OptionError(_WRONG_SUFFIX[option])
