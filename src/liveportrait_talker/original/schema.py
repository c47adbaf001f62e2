"""Reading of a config.yaml with OmegaConf, and validation of every key (docs/method/original.md, Config keys).

A key is honoured, fixed (accepted with one value), without effect (accepted with a warning) or unknown (an error).
Numbers are converted here: `3e-7` is a string to a YAML 1.1 loader.
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
from ..options.fields import shown

log = logging.getLogger(__name__)

_MAX_BYTES = 32 * 1024  # YAML of deep nesting takes quadratic time


class Kind(Enum):
    """Type of a value, as named in error messages."""

    FLAG = "true or false"
    INTEGER = "a whole number"
    NUMBER = "a number"
    TEXT = "a text"
    SIZES = "a list of whole numbers"
    ANY = "anything"


class Support(Enum):
    """How a key is treated."""

    HONOURED = "honoured"
    FIXED = "fixed"
    WITHOUT_EFFECT = "without effect"


@dataclass(frozen=True)
class Key:
    """One key of a section, by its path in it. `reason` explains why a FIXED key has no other value."""

    path: str
    kind: Kind
    default: Any
    support: Support
    reason: str = ""


def honoured(path: str, kind: Kind, default: Any) -> Key:
    """Return a key with the same effect as in the original."""
    return Key(path, kind, default, Support.HONOURED)


def fixed(path: str, kind: Kind, value: Any, reason: str) -> Key:
    """Return a key that is accepted with one value."""
    return Key(path, kind, value, Support.FIXED, reason)


def without_effect(path: str) -> Key:
    """Return a key that is accepted and ignored."""
    return Key(path, Kind.ANY, None, Support.WITHOUT_EFFECT)


@dataclass(frozen=True)
class Section:
    """A top-level section and its keys.

    Keys in one of the `optional_groups` may also stand one level up; `Key.path` is the path without the group.
    """

    name: str
    keys: tuple[Key, ...]
    optional_groups: tuple[str, ...] = ()

    def normalise(self, written: str) -> str:
        """Return a path without optional groups."""
        for group in self.optional_groups:
            if written.startswith(f"{group}."):
                return f"{group.rpartition('.')[0]}{written[len(group) :]}".removeprefix(".")
        return written

    def groups(self) -> set[str]:
        """Return the path of every group of keys."""
        paths = [key.path.split(".") for key in self.keys]
        return {".".join(path[:depth]) for path in paths for depth in range(1, len(path))} | set(self.optional_groups)


def read_section(path: Path, section: Section, sections: Sequence[str]) -> dict[str, Any]:
    """Read a section of a configuration file; return its values by key path, with defaults for absent or null ones.

    Args:
        path: the file.
        section: the section to read.
        sections: the allowed names of sections; the contents of the others are not checked.

    Raises:
        OptionError: the file cannot be read, or a key is unknown, has a wrong type or an unsupported value.
    """
    keys = {key.path: key for key in section.keys}
    values = {key.path: key.default for key in section.keys}
    given: dict[str, str] = {}  # key path → path in the file
    for written, value in _leaves(_load(path, section.name, sections), section, path.name):
        key, full = section.normalise(written), f"{section.name}.{written}"
        if key in given:
            raise OptionError(
                f"{path.name} has {section.name}.{given[key]} and {full}, which are the same key: give one of them."
            )
        given[key] = written
        if value is not None:
            values[key] = _convert(keys[key], full, value, path.name)
    ignored = [written for key, written in given.items() if keys[key].support is Support.WITHOUT_EFFECT]
    if ignored:
        log.warning("without effect in %s, under %s: %s.", path.name, section.name, ", ".join(ignored))
    return values


def _load(path: Path, name: str, sections: Sequence[str]) -> Mapping[Any, Any]:
    """Load a section and resolve its interpolations; the other sections are not resolved."""
    try:
        from omegaconf import DictConfig, OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError
    except ImportError as error:
        raise OptionError(
            f"reading {path.name} needs OmegaConf, which is not installed: pip install omegaconf "
            "(or 'liveportrait-talker[original]')."
        ) from error
    text = _read(path)
    try:
        tree = OmegaConf.load(io.StringIO(text))
        if isinstance(tree, DictConfig):
            _check_sections(path, tree.keys(), sections)
            section = tree.get(name)
            if section is None:
                raise OptionError(f"{path.name} has no section {name}; examples/config.yaml is an example.")
            if OmegaConf.is_config(section):
                section = OmegaConf.to_container(section, resolve=True, throw_on_missing=True)
            if isinstance(section, Mapping):
                return section
            raise OptionError(f"{name} in {path.name} must be a section with keys: it is {shown(section)}.")
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise OptionError(f"{path} is not valid YAML{place}: {problem or 'it cannot be read'}.") from error
    except OmegaConfBaseException as error:
        key, reason = getattr(error, "full_key", None), str(error).partition("\n")[0]
        raise OptionError(f"{path.name}{f', {key}' if key else ''}: {reason}.") from error
    except (ValueError, TypeError, RecursionError) as error:  # numbers and dates that are none, deep nesting
        raise OptionError(f"{path} is not a configuration: {type(error).__name__} while reading it.") from error
    except OSError:  # raised by OmegaConf for a file that holds one number
        pass
    raise OptionError(f"{path} holds no configuration; examples/config.yaml is an example.")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise OptionError(f"{path} is too large for a configuration: at most {_MAX_BYTES >> 10} KB are read.")
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise OptionError(f"there is no file {path}; examples/config.yaml is an example.") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise OptionError(f"{path} cannot be read ({error.strerror}).") from error


def _check_sections(path: Path, names: Iterable[Any], sections: Sequence[str]) -> None:
    for name in map(str, names):
        if name not in sections:
            raise OptionError(f"{path.name} has an unknown section, {name}{_suggestion(name, sections)}")


def _leaves(content: Mapping[Any, Any], section: Section, file_name: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path in the file, value) of every key of the section.

    Raises:
        OptionError: a key is unknown, or a group of keys has a value.
    """
    keys, groups = {key.path for key in section.keys}, section.groups()
    for name, value in content.items():
        written = f"{above}{name}"
        full = f"{section.name}.{written}"
        if section.normalise(written) in keys:
            yield written, value
        elif written not in groups and section.normalise(written) not in groups:
            known = {f"{section.name}.{path}" for path in keys | groups}
            raise OptionError(f"{file_name} has an unknown key, {full}{_suggestion(full, known)}")
        elif isinstance(value, Mapping):
            yield from _leaves(value, section, file_name, f"{written}.")
        elif value is not None:
            raise OptionError(f"{full} in {file_name} must have keys of its own: it is {shown(value)}.")


def _suggestion(name: str, known: Collection[str]) -> str:
    """Return `; did you mean …?` if a known path has a similar last part; paths in the same group come first."""
    group, _, leaf = name.rpartition(".")
    same_group_last = sorted(known, key=lambda path: (path.rpartition(".")[0] == group, path))
    by_leaf = {path.rpartition(".")[2].lower(): path for path in same_group_last}
    close = difflib.get_close_matches(leaf.lower(), by_leaf, n=1)
    return f"; did you mean {by_leaf[close[0]]}?" if close else ": leave it out."


def _convert(key: Key, full: str, value: Any, file_name: str) -> Any:
    try:
        converted = _CONVERSIONS[key.kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"{full} in {file_name} must be {key.kind.value}: it is {shown(value)}.") from error
    if key.support is Support.FIXED and converted != key.default:
        raise OptionError(f"{full} in {file_name} is {converted}, but {key.reason}: give {key.default}.")
    return converted


def _to_flag(value: Any) -> bool:
    word = str(value).strip().lower()  # ${oc.env:…} gives strings
    if not isinstance(value, (bool, str)) or word not in ("true", "false"):
        raise ValueError
    return word == "true"


def _to_number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _to_integer(value: Any) -> int:
    number = _to_number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _to_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    return value


def _to_sizes(value: Any) -> list[int]:
    if not isinstance(value, list):
        raise TypeError
    return [_to_integer(entry) for entry in value]


_CONVERSIONS: dict[Kind, Callable[[Any], Any]] = {
    Kind.FLAG: _to_flag,
    Kind.INTEGER: _to_integer,
    Kind.NUMBER: _to_number,
    Kind.TEXT: _to_text,
    Kind.SIZES: _to_sizes,
    Kind.ANY: lambda value: value,
}
