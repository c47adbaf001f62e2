"""From what a user gave to an order of `animate`: shared by the tab and the API."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..options.animate import AnimateOptions
from .desk import Desk
from .fields import command_flags, fields_of
from .worker import Order

FIELDS = fields_of(AnimateOptions)
DECIDING = ("renderer", "relative_motion")
TEMPLATES = (".npz", ".pkl", ".pickle")
"""A motion template is told by its suffix."""


@dataclass(frozen=True)
class Wish:
    """What a user wants: a source, what it follows, and whether the motion is kept as a template."""

    source: Path
    driving: Path
    options: AnimateOptions
    keep_motion: bool = False


def wish(source: Any, driving: Any, options: Mapping[str, Any], *, keep_motion: bool = False) -> Wish:
    """Check what was given. Raises OptionError in one sentence."""
    if not source:
        raise OptionError("there is no portrait yet: choose a picture or a video with a face.")
    if not driving:
        raise OptionError("there is nothing to follow yet: choose a video, a picture or a motion template.")
    known = {field.name for field in FIELDS}
    if unknown := sorted(set(options) - known):
        raise OptionError(f"there is no option {unknown[0]!r}: the names are {', '.join(sorted(known))}.")
    return Wish(Path(source), Path(driving), AnimateOptions(**options), keep_motion)


def irrelevant(given: Mapping[str, Any], renderer: str) -> set[str]:
    """The settings that change nothing, given the deciding ones and who would draw."""
    idle = set() if renderer == "neural" else {*"device"}
    return idle | (set() if given["relative_motion"] else {"normalize_lip"})


def order(desk: Desk, wanted: Wish) -> Order:
    """An order with files of its own. Raises MediaError for a file over the limit."""
    folder = desk.jobs.new_folder()
    suffix = wanted.driving.suffix.lower()
    try:
        for path in (wanted.source, wanted.driving):
            desk.uploads.check_size(path)
        seconds = min(wanted.options.max_seconds, desk.uploads.max_seconds)
        details: dict[str, Any] = {
            "source": desk.uploads.lend(wanted.source, folder, "the portrait"),
            "driving": desk.uploads.lend(
                wanted.driving, folder, f"the motion{suffix}" if suffix in TEMPLATES else "the driving video"
            ),
            "options": dataclasses.replace(wanted.options, max_seconds=seconds),
            "keep_motion": wanted.keep_motion,
        }
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Order("animate", folder, details)


def command(wanted: Wish, suffix: str) -> str:
    """The command line that makes the same; `suffix` .mp4, or .png where a picture follows a picture."""
    words = ["liveportrait-talker", "animate", wanted.source.name, wanted.driving.name, "-o", f"animated{suffix}"]
    kept = ["--save-template", "motion.npz"] if wanted.keep_motion else []
    return shlex.join([*words, *kept, *command_flags(FIELDS, wanted.options, lambda path: path.name)])
