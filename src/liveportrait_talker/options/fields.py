"""Fields of option dataclasses: each knows its help, range, group and the conditions under which it has an effect.

The Python API, the command line, the page and batch files are made from these fields.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import OptionError

GROUPS = (
    "engines",
    "driving motion",
    "head",
    "eyes",
    "mouth",
    "expression",
    "networks",
    "image",
    "output",
    "learning problem",
    "run",
    "speakers",
)
"""Titles of the groups of options of all commands, in the order in which they are shown."""

Options = TypeVar("Options")


class Kind(NamedTuple):
    """The type of an option's value."""

    type: type
    """bool, int, float, str or Path."""
    optional: bool
    """None is allowed and means automatic."""
    many: bool
    """A tuple of such values."""


def option(
    default: Any,
    help: str,
    group: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str | None = None,
    flag: str | None = None,
    flag_help: str | None = None,
    alias: str | None = None,
    needs: tuple[str, ...] = (),
    check: Callable[[str], object] | None = None,
) -> Any:
    """Return a dataclass field for one option.

    Args:
        default: the value where none is given.
        help: what the field does.
        group: one of GROUPS.
        low: smallest value.
        high: largest value.
        choices: the allowed values.
        unit: of the value, for help texts.
        flag: the command line's name, where it is not the field's.
        flag_help: help of the flag, where it means the opposite of the field: a field that is True by default has a
            flag `--no-…` that makes it False.
        alias: a second name of the flag.
        check: called with a text; raises OptionError where it makes no sense.
        needs: conditions under which the option has an effect: any of them suffices, "a+b" needs both. See
            `applicability`. Empty: always.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "group": group,
            "low": low,
            "high": high,
            "choices": choices,
            "unit": unit,
            "flag": flag,
            "flag_help": flag_help or help,
            "alias": alias,
            "needs": needs,
            "check": check,
        },
    )


def same_option(options: type[Any], name: str, **changes: Any) -> Any:
    """Return the field `name` of another options dataclass; `changes`: of its `default` or of what describes it."""
    field = next(each for each in dataclasses.fields(options) if each.name == name)
    default = changes.pop("default", field.default)
    if "help" in changes:
        changes.setdefault("flag_help", changes["help"])
    return dataclasses.field(default=default, metadata={**field.metadata, **changes})


def fields_of(options: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of an options dataclass (or of an instance) that are options, sorted by group."""
    return list(_fields_of(options if isinstance(options, type) else type(options)))


@cache
def _fields_of(options: Any) -> tuple[dataclasses.Field[Any], ...]:
    fields = [each for each in dataclasses.fields(options) if "group" in each.metadata]
    return tuple(sorted(fields, key=lambda each: GROUPS.index(each.metadata["group"])))


@cache
def kind_of(option: dataclasses.Field[Any]) -> Kind:
    """Return the type of a field's value, read from its annotation."""
    annotation = str(option.type)
    types: tuple[type, ...] = (bool, Path, float, int, str)
    many = "tuple" in annotation or "Degrees" in annotation
    name = "float" if "Degrees" in annotation else annotation
    return Kind(next(t for t in types if t.__name__ in name), "None" in annotation, many)


@cache
def flag_of(option: dataclasses.Field[Any]) -> str:
    """Return the command line's name of a field."""
    named = option.metadata.get("flag")
    negated = "no-" if option.default is True else ""
    return str(named) if named else "--" + negated + option.name.replace("_", "-")


def changed_fields(options: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of an instance that are not at their defaults."""
    return [each for each in dataclasses.fields(options) if getattr(options, each.name) != each.default]


def changed_flags(options: Any, names: tuple[str, ...]) -> list[str]:
    """Return the flags of those of `names` that are not at their defaults."""
    return [flag_of(each) for each in changed_fields(options) if each.name in names]


def paths_in(value: Any) -> tuple[Path, ...]:
    """Return the files that an option's value names."""
    several = value if isinstance(value, tuple) else (value,)
    return tuple(one for one in several if isinstance(one, Path))


def check_values(options: Any) -> None:
    """Raise OptionError for the first field of a dataclass of the wrong type, out of its range or not a choice.

    The name of a file may be given as text, which becomes a Path; of several files as a list, which becomes a tuple.
    """
    for each in fields_of(options):
        value, limits, kind, flag = getattr(options, each.name), each.metadata, kind_of(each), flag_of(each)
        if value is None and kind.optional:
            continue
        if kind.type is bool:
            if not isinstance(value, bool):
                raise OptionError(f"{flag} {shown(value)} is not True or False.")
        elif kind.type is Path:
            several = value if kind.many and isinstance(value, (list, tuple)) else (value,)
            if not all(isinstance(one, (str, Path)) for one in several):
                raise OptionError(f"{flag} {shown(value)} is not the name of a file.")
            paths = tuple(map(Path, several))
            object.__setattr__(options, each.name, paths if kind.many else paths[0])
        elif kind.type is str:
            if not isinstance(value, str):
                raise OptionError(f"{flag} {shown(value)} is not text.")
            if limits["choices"] is not None and value not in limits["choices"]:
                raise OptionError(f"{flag} {value} is not known: choose one of {', '.join(limits['choices'])}.")
            if limits["check"] is not None:
                limits["check"](value)
        elif limits["low"] is not None:
            numbers = value if kind.many else (value,)
            _check_numbers(flag, numbers, limits["low"], limits["high"], whole=kind.type is int)


def _check_numbers(flag: str, numbers: tuple[Any, ...], low: float, high: float, *, whole: bool) -> None:
    if not numbers:
        raise OptionError(f"{flag} needs at least one number of degrees.")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, Real):
            raise OptionError(f"{flag} {shown(number)} is not a number.")
        if whole and not isinstance(number, Integral):
            raise OptionError(f"{flag} {shown(number)} is not a whole number.")
        plain: Any = number.item() if hasattr(number, "item") else number  # NumPy's repr names its type
        if not low <= plain <= high:  # not as a float, which large whole numbers do not fit
            given = shown(plain)
            raise OptionError(f"{flag} {given} is out of range: give {format_number(low)} … {format_number(high)}.")


def shown(value: Any) -> str:
    """Return a given value as short text for a message."""
    try:
        text = repr(value)
    except Exception:  # RecursionError, ValueError for numbers of thousands of digits, whatever an object raises
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:99]}…"


def format_number(number: float) -> str:
    """Return a number as a person writes it."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def accept_old_names(names: Mapping[str, str]) -> Callable[[type[Options]], type[Options]]:
    """Return a class decorator that lets an options dataclass take the negated names of an earlier release.

    `names` maps the old name to the new one, whose value is the opposite. Each use gives a DeprecationWarning.
    """

    def decorate(options: type[Options]) -> type[Options]:
        create: Any = options.__init__

        def __init__(self: Any, *args: Any, **values: Any) -> None:
            for old in names.keys() & values.keys():
                new, value = names[old], values.pop(old)
                opposite = not value if isinstance(value, bool) else value  # what is no bool is refused below
                if values.get(new, True) is False and opposite is not False:
                    raise OptionError(f"{old} and {new} contradict each other: give {new} alone.")
                warnings.warn(f"{old} is now {new}, its opposite", DeprecationWarning, stacklevel=2)
                values[new] = opposite
            create(self, *args, **values)

        def __getattr__(self: Any, name: str) -> Any:
            if name not in names:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            warnings.warn(f"{name} is now {names[name]}, its opposite", DeprecationWarning, stacklevel=2)
            return not getattr(self, names[name])

        options.__init__ = __init__  # type: ignore[method-assign]
        options.__getattr__ = __getattr__  # type: ignore[attr-defined]
        return options

    return decorate
