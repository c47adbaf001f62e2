"""What every dataclass of options is made of: fields that know their help, range and choices, and the check of them."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any

from ..errors import OptionError


def option(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str | None = None,
    group: str = "",
    flag: str | None = None,
) -> Any:
    """A field with what the doors need to know of it.

    `group` starts a new group of options, which goes on below. `flag` is the command line's name where it is not the
    field's. A field that is True by default has a flag, and a help, that make it False.
    """
    notes = {"help": text, "low": low, "high": high, "choices": choices, "unit": unit, "group": group, "flag": flag}
    return field(default=default, metadata=notes)


def flag_of(option: dataclasses.Field[Any]) -> str:
    """The command line's name of a field."""
    named = option.metadata.get("flag")
    negated = "no-" if option.default is True else ""
    return str(named) if named else "--" + negated + option.name.replace("_", "-")


def given(options: Any, names: tuple[str, ...]) -> list[str]:
    """The flags of those of `names` that are not at their defaults."""
    fields = (f for f in dataclasses.fields(options) if f.name in names)
    return [flag_of(f) for f in fields if getattr(options, f.name) != f.default]


def check_ranges(options: Any) -> None:
    """Raise OptionError for the first field of a dataclass that is out of its range or not one of its choices."""
    for each in dataclasses.fields(options):
        value, limits = getattr(options, each.name), each.metadata
        if value is None or isinstance(value, bool):
            if isinstance(each.default, bool) != isinstance(value, bool) and each.default is not None:
                raise OptionError(f"{flag_of(each)} {value!r} is not what it takes.")
            continue
        if isinstance(each.default, bool):
            raise OptionError(f"{flag_of(each)} {value!r} is not True or False.")
        if limits["choices"] is not None and value not in limits["choices"]:
            raise OptionError(f"{flag_of(each)} {value} is not known: choose one of {', '.join(limits['choices'])}.")
        if limits["low"] is None:
            continue
        if value == ():
            raise OptionError(f"{flag_of(each)} needs at least one number of degrees.")
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, (int, float)):
                raise OptionError(f"{flag_of(each)} {number!r} is not a number.")
            if not limits["low"] <= number <= limits["high"]:
                low, high = plain(limits["low"]), plain(limits["high"])
                raise OptionError(f"{flag_of(each)} {number} is out of range: give {low} … {high}.")


def plain(number: float) -> str:
    """A limit as a person writes it."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
