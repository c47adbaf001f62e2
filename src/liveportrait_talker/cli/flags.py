"""Command-line flags made from a dataclass of options."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from ..options.fields import fields_of, flag_of, kind_of

Options = TypeVar("Options")


def add_options(parser: argparse.ArgumentParser, options: type[Any], *, path_is: str = "VIDEO") -> None:
    """Add one flag for each field of `options`, in its groups; `path_is` is the metavar of a path."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in fields_of(options):
        title = field.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_flag(groups[title], field, path_is)


def options_from(options: type[Options], arguments: argparse.Namespace) -> Options:
    """Return the options that the arguments give. Raises OptionError."""
    return options(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(options)})  # type: ignore[arg-type]


def _add_flag(group: argparse._ArgumentGroup, field: dataclasses.Field[Any], path_is: str) -> None:
    limits, kind, flag = field.metadata, kind_of(field), flag_of(field)
    help = limits["flag_help"].replace("%", "%%")
    if kind.type is bool and kind.optional:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=help)
        return
    if kind.type is bool:
        action = "store_false" if field.default else "store_true"
        group.add_argument(flag, dest=field.name, action=action, help=help)
        return
    if kind.many:
        range = f"{limits['low']:g}…{limits['high']:g}"
        group.add_argument(flag, type=kind.type, nargs="+", metavar="DEG", help=f"{help} ({range})")
        return
    notes = []
    if limits["low"] is not None and limits["high"] < 1e6:
        notes.append(f"{limits['low']:g}…{limits['high']:g}" + (f" {limits['unit']}" if limits["unit"] else ""))
    if field.default is not None:
        notes.append(f"default {field.default:g}" if kind.type in (int, float) else f"default {field.default}")
    metavar = "N"
    if limits["choices"]:
        metavar = "|".join(limits["choices"])
    elif kind.type is Path:
        metavar = limits["unit"] or path_is
    elif kind.type is str:
        metavar = "TEXT"
    flags = [flag, limits["alias"]] if limits["alias"] else [flag]
    help += f" ({', '.join(notes)})" if notes else ""
    group.add_argument(*flags, type=kind.type, default=field.default, metavar=metavar, help=help)
