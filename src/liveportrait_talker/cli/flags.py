"""The command line's flags, made from a dataclass of options."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from ..options.fields import flag_of

Options = TypeVar("Options")


def add_options(parser: argparse.ArgumentParser, options: type[Any], *, path_is: str = "VIDEO") -> None:
    """One flag for each field of `options`, in its groups; `path_is` stands for the value of a path in the help."""
    group: argparse._ActionsContainer = parser
    for field in dataclasses.fields(options):
        limits = field.metadata
        if limits.get("group"):
            group = parser.add_argument_group(limits["group"])
        flag, kind = flag_of(field), str(field.type)
        if kind == "bool":
            switch = "store_false" if field.default else "store_true"
            group.add_argument(flag, dest=field.name, action=switch, help=limits["help"])
        elif kind == "bool | None":
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=limits["help"])
        elif "Degrees" in kind:
            text = f"{limits['help']} ({limits['low']:g}…{limits['high']:g})"
            group.add_argument(flag, type=float, nargs="+", metavar="DEG", help=text)
        else:
            _add_value(group, flag, field, path_is)


def given_options(options: type[Options], arguments: argparse.Namespace) -> Options:
    """The options that were given. Raises OptionError."""
    return options(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(options)})  # type: ignore[arg-type]


def _add_value(group: argparse._ActionsContainer, flag: str, field: dataclasses.Field[Any], path_is: str) -> None:
    limits = field.metadata
    python_type: Any = next(t for t in (Path, float, int, str) if t.__name__ in str(field.type))
    notes = []
    if limits.get("low") is not None and limits["high"] < 1e6:
        notes.append(f"{limits['low']:g}…{limits['high']:g}" + (f" {limits['unit']}" if limits.get("unit") else ""))
    if field.default is not None:
        notes.append(f"default {field.default:g}" if python_type in (int, float) else f"default {field.default}")
    metavar = {Path: limits.get("unit") or path_is, str: "TEXT"}.get(python_type, "N")
    if limits.get("choices"):
        metavar = "|".join(limits["choices"])
    text = limits["help"] + (f" ({', '.join(notes)})" if notes else "")
    flags = [flag, limits["also"]] if limits.get("also") else [flag]
    group.add_argument(*flags, type=python_type, default=field.default, metavar=metavar, help=text.replace("%", "%%"))
