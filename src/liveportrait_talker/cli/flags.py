"""Command-line flags made from a dataclass of options."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from ..options.fields import fields_of, flag_of, format_number, kind_of

Options = TypeVar("Options")


def add_options(
    parser: argparse.ArgumentParser, *options: type[Any], path_is: str = "VIDEO", without: tuple[str, ...] = ()
) -> None:
    """Add one flag for each field of these dataclasses, in its groups.

    Args:
        parser: gets the flags.
        options: the dataclasses.
        path_is: the metavar of a path.
        without: fields that get no flag.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in (field for each in options for field in fields_of(each) if field.name not in without):
        title = field.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_flag(groups[title], field, path_is)


def options_from(options: type[Options], arguments: argparse.Namespace, **others: Any) -> Options:
    """Return the options that the arguments give; `others` are fields without a flag. Raises OptionError."""
    return options(**{each.name: getattr(arguments, _destination(each)) for each in fields_of(options)}, **others)


def _destination(field: dataclasses.Field[Any]) -> str:
    """Return the attribute of the parsed arguments: the flag's name, so that dataclasses may share a field's name."""
    is_switch = kind_of(field).type is bool
    return field.name if is_switch else flag_of(field).lstrip("-").replace("-", "_")


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
    if kind.many and kind.type is Path:
        default: list[Path] = []
        metavar = limits["unit"] or path_is
        group.add_argument(flag, type=Path, nargs="+", action="extend", default=default, metavar=metavar, help=help)
        return
    if kind.many:
        range = f"{limits['low']:g}…{limits['high']:g}"
        group.add_argument(flag, type=kind.type, nargs="+", metavar="DEG", help=f"{help} ({range})")
        return
    notes = []
    if limits["low"] is not None and limits["high"] < 1e6:
        notes.append(f"{format_number(limits['low'])}…{format_number(limits['high'])} {limits['unit'] or ''}".rstrip())
    if field.default is not None:
        notes.append(f"default {field.default:g}" if kind.type in (int, float) else f"default {field.default}")
    metavar = "N"
    if limits["choices"]:
        metavar = "|".join(limits["choices"])
    elif kind.type is Path:
        metavar = limits["unit"] or path_is
    elif kind.type is str:
        metavar = limits["unit"] or "TEXT"
    flags = [flag, limits["alias"]] if limits["alias"] else [flag]
    help += f" ({', '.join(notes)})" if notes else ""
    group.add_argument(
        *flags, dest=_destination(field), type=kind.type, default=field.default, metavar=metavar, help=help
    )
