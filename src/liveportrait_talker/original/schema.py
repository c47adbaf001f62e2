"""How a config.yaml is read: OmegaConf, then every key checked against a table. Nothing is left to be guessed.

A key is honoured, fixed (accepted with the one value that this software has), without effect (accepted, and named in a
note) or unknown (refused). Numbers are converted here: `3e-7` is a string to a YAML 1.1 loader.
"""

from __future__ import annotations

import difflib
import io
import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import OptionError

log = logging.getLogger(__name__)


class Kind(Enum):
    """What a value must be; the text says so to the user."""

    FLAG = "true or false"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TEXT = "a text"
    SIZES = "a list of whole numbers"
    ANY = "anything"


class Fate(Enum):
    """What becomes of a key."""

    HONOURED = "honoured"
    FIXED = "fixed"
    WITHOUT_EFFECT = "without effect"


@dataclass(frozen=True)
class Key:
    """One key of a section, by its path in it. `why` is said where another value is refused (FIXED)."""

    path: str
    kind: Kind
    default: Any
    fate: Fate
    why: str = ""


def honoured(path: str, kind: Kind, default: Any) -> Key:
    """A key that does here what it did there."""
    return Key(path, kind, default, Fate.HONOURED)


def fixed(path: str, kind: Kind, only: Any, why: str) -> Key:
    """A key that is accepted with the value `only`."""
    return Key(path, kind, only, Fate.FIXED, why)


def without_effect(path: str) -> Key:
    """A key that this software has no use for."""
    return Key(path, Kind.ANY, None, Fate.WITHOUT_EFFECT)


@dataclass(frozen=True)
class Section:
    """A top-level section and its keys. What stands in one of the `open_folders` may as well stand one level up.

    The specification shortens paths with dots, and for some keys both places are a fair reading of it. The keys' own
    paths are those of the upper level.
    """

    name: str
    keys: tuple[Key, ...]
    open_folders: tuple[str, ...] = ()

    def plain(self, written: str) -> str:
        """The key path that `written` means."""
        for folder in self.open_folders:
            if written.startswith(f"{folder}."):
                return f"{folder.rpartition('.')[0]}{written[len(folder) :]}".removeprefix(".")
        return written

    def folders(self) -> set[str]:
        """The path of every folder of keys."""
        paths = [key.path.split(".") for key in self.keys]
        return {".".join(path[:depth]) for path in paths for depth in range(1, len(path))} | set(self.open_folders)


def read_section(path: Path, section: Section, sections: Sequence[str]) -> dict[str, Any]:
    """The values of `section` in the file `path`, by key path: converted, checked, with defaults where absent or null.

    `sections` are the names that the file may have; the others' contents are not looked at.

    Raises:
        OptionError: the file cannot be read, or a key is unknown, of a wrong type, or has a value this software lacks.
    """
    keys = {key.path: key for key in section.keys}
    values = {key.path: key.default for key in section.keys}
    given: dict[str, str] = {}  # key path → the path as it stands in the file
    for written, value in _leaves(_load(path, section.name, sections), section, path.name):
        found, full = section.plain(written), f"{section.name}.{written}"
        if found in given:
            raise OptionError(
                f"{path.name} has {section.name}.{given[found]} and {full}, which are one key: give one of them."
            )
        given[found] = written
        if value is not None:
            values[found] = _checked(keys[found], full, value, path.name)
    idle = [given[found] for found in given if keys[found].fate is Fate.WITHOUT_EFFECT]
    if idle:
        log.warning("without effect in %s, under %s: %s.", path.name, section.name, ", ".join(idle))
    return values


def _load(path: Path, wanted: str, sections: Sequence[str]) -> Mapping[Any, Any]:
    """The section `wanted`, interpolations resolved; the others stay as they are, mistakes included."""
    try:
        from omegaconf import DictConfig, OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError
    except ImportError as error:
        raise OptionError(
            f"{path.name} is read with OmegaConf, which is not installed: pip install omegaconf "
            "(or 'liveportrait-talker[original]') brings it."
        ) from error
    text = _text(path)
    try:
        tree = OmegaConf.load(io.StringIO(text))
        if isinstance(tree, DictConfig):
            _know_sections(path, tree.keys(), sections)
            section = tree.get(wanted)
            if section is None:
                raise OptionError(
                    f"{path.name} has no section {wanted}; examples/config.yaml shows what one looks like."
                )
            if OmegaConf.is_config(section):
                section = OmegaConf.to_container(section, resolve=True, throw_on_missing=True)
            if isinstance(section, Mapping):
                return section
            raise OptionError(f"{wanted} in {path.name} must be a section with keys: it is {section!r}.")
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise OptionError(f"{path} is not proper YAML{place}: {problem or 'it cannot be read'}.") from error
    except OmegaConfBaseException as error:
        key, reason = getattr(error, "full_key", None), str(error).partition("\n")[0]
        raise OptionError(f"{path.name}{f', {key}' if key else ''}: {reason}.") from error
    except OSError:  # OmegaConf's word for a file that holds one number
        pass
    raise OptionError(f"{path} holds no configuration; examples/config.yaml shows what one looks like.")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise OptionError(f"there is no file {path}; examples/config.yaml is one to begin with.") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not a text in UTF-8; save it as one.") from error
    except OSError as error:
        raise OptionError(f"{path} cannot be read ({error.strerror}).") from error


def _know_sections(path: Path, names: Iterable[Any], sections: Sequence[str]) -> None:
    for name in map(str, names):
        if name not in sections:
            raise OptionError(f"{path.name} has an unknown section, {name}{_suggestion(name, sections)}")


def _leaves(content: Mapping[Any, Any], section: Section, file_name: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """(path as written, value) of every key of the section.

    Raises:
        OptionError: a key is not known, or a value stands where a folder of keys belongs.
    """
    keys, folders = {key.path for key in section.keys}, section.folders()
    for name, value in content.items():
        written = f"{above}{name}"
        full = f"{section.name}.{written}"
        if section.plain(written) in keys:
            yield written, value
        elif written not in folders and section.plain(written) not in folders:
            known = {f"{section.name}.{path}" for path in keys | folders}
            raise OptionError(f"{file_name} has an unknown key, {full}{_suggestion(full, known)}")
        elif isinstance(value, Mapping):
            yield from _leaves(value, section, file_name, f"{written}.")
        elif value is not None:
            raise OptionError(f"{full} in {file_name} must have keys of its own: it is {value!r}.")


def _suggestion(name: str, known: Collection[str]) -> str:
    """`; did you mean …?` where a known path ends alike, those in the same folder first."""
    folder, _, leaf = name.rpartition(".")
    neighbours_last = sorted(known, key=lambda path: (path.rpartition(".")[0] == folder, path))
    by_leaf = {path.rpartition(".")[2].lower(): path for path in neighbours_last}
    close = difflib.get_close_matches(leaf.lower(), by_leaf, n=1)
    return f"; did you mean {by_leaf[close[0]]}?" if close else ": leave it out."


def _checked(key: Key, full: str, value: Any, file_name: str) -> Any:
    try:
        found = _CONVERSIONS[key.kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"{full} in {file_name} must be {key.kind.value}: it is {value!r}.") from error
    if key.fate is Fate.FIXED and found != key.default:
        raise OptionError(f"{full} in {file_name} is {found}, and {key.why}: give {key.default}.")
    return found


def _flag(value: Any) -> bool:
    word = str(value).strip().lower()  # ${oc.env:…} gives words
    if not isinstance(value, (bool, str)) or word not in ("true", "false"):
        raise ValueError
    return word == "true"


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _words(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def _sizes(value: Any) -> list[int]:
    if not isinstance(value, list):
        raise TypeError
    return [_whole(entry) for entry in value]


_CONVERSIONS: dict[Kind, Callable[[Any], Any]] = {
    Kind.FLAG: _flag,
    Kind.WHOLE: _whole,
    Kind.NUMBER: _number,
    Kind.TEXT: _words,
    Kind.SIZES: _sizes,
    Kind.ANY: lambda value: value,
}
