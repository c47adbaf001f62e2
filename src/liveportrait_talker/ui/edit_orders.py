"""From what a user gave to an order of `edit`: shared by the tab and the API."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..options.edit import COPYING, EditOptions, EditSetup
from .desk import Desk
from .fields import command_flags, fields_of
from .worker import Order

SLIDERS = fields_of(EditOptions)
SETUP = fields_of(EditSetup)
_KEYFRAME_SUFFIXES = (".json", ".csv")
_OF_A_CLIP = ("fps", "encoder", "quality")


@dataclass(frozen=True)
class Wish:
    """What a user wants: a portrait, an expression, how it is drawn, and for a clip the keyframes."""

    portrait: Path
    edit: EditOptions
    setup: EditSetup
    keyframes: Path | None = None


def wish(portrait: Any, edit: Mapping[str, Any], setup: Mapping[str, Any], keyframes: Any = None) -> Wish:
    """Check what was given. Raises OptionError in one sentence."""
    if not portrait:
        raise OptionError("there is no portrait yet: choose a picture with a face.")
    for given, fields in ((edit, SLIDERS), (setup, SETUP)):
        known = {field.name for field in fields}
        if unknown := sorted(set(given) - known):
            raise OptionError(f"there is no option {unknown[0]!r}: the names are {', '.join(sorted(known))}.")
    made = None if not keyframes else Path(keyframes)
    if made is not None and made.suffix.lower() not in _KEYFRAME_SUFFIXES:
        raise OptionError("the keyframes must be a .json or a .csv file: rename it, or choose another.")
    return Wish(Path(portrait), EditOptions(**edit), EditSetup(**setup), made)


def irrelevant_sliders(sample: Any) -> set[str]:
    """What is about a face that is copied, where none is."""
    return set() if sample else set(COPYING)


def irrelevant_setup(renderer: str, *, clip: bool) -> set[str]:
    """The settings that change nothing for this renderer, or for a picture."""
    idle = set() if renderer == "neural" else {*"device"}
    return idle | (set() if clip else set(_OF_A_CLIP))


def order(desk: Desk, wanted: Wish) -> Order:
    """An order with files of its own. Raises MediaError for a file over the limit."""
    folder = desk.jobs.new_folder()
    try:
        edit, keyframes = wanted.edit, None
        desk.uploads.check_size(wanted.portrait)
        if edit.sample is not None:
            desk.uploads.check_size(edit.sample)
            edit = dataclasses.replace(edit, sample=desk.uploads.lend(edit.sample, folder, "the sample"))
        if wanted.keyframes is not None:
            desk.uploads.check_size(wanted.keyframes)
            name = f"the keyframes{wanted.keyframes.suffix.lower()}"
            keyframes = desk.uploads.lend(wanted.keyframes, folder, name)
        portrait = desk.uploads.lend(wanted.portrait, folder, "the portrait")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    details = {"portrait": portrait, "edit": edit, "setup": wanted.setup, "keyframes": keyframes}
    return Order("edit", folder, details)


def command(wanted: Wish, suffix: str) -> str:
    """The command line that makes the same picture (`suffix` .png) or clip (.mp4)."""
    words = ["liveportrait-talker", "edit", wanted.portrait.name, "-o", f"edited{suffix}"]
    if wanted.keyframes is not None:
        words += ["--keyframes", wanted.keyframes.name]
    words += command_flags(SLIDERS, wanted.edit, lambda path: path.name)
    return shlex.join([*words, *command_flags(SETUP, wanted.setup, lambda path: path.name)])
