"""Widgets made from the options' own metadata: what the library knows of a choice is what the page shows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import OptionError
from ..options import fields as options_fields

AUTOMATIC = "automatic"
SWITCH, THREE_WAY, CHOICE, SLIDER, NUMBER, NUMBERS, FILE, TEXT = (
    "switch",
    "three-way",
    "choice",
    "slider",
    "number",
    "numbers",
    "file",
    "text",
)
SUFFIXES = {"mapping": (".safetensors",)}
"""Of files that are told by their name; all others are judged by their content."""
_WIDEST_SLIDER = 200  # a wider range is typed
_SHORT = {"fps": "Frame rate", "no_crop": "Whole frame is the face"}


@dataclass(frozen=True)
class Field:
    """One option as the page shows it."""

    name: str
    kind: str
    default: Any
    help: str
    group: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    unit: str = ""
    whole: bool = False
    """Whole numbers only."""
    optional: bool = False
    """May be left empty: automatic."""
    flag: str = ""
    """On the command line."""
    inverted: bool = False
    """A switch that is on by default: the page, as the command line, offers to turn it off."""

    @property
    def label(self) -> str:
        """The name as people write it, with its unit."""
        name = self.flag.removeprefix("--").replace("-", "_") if self.inverted else self.name
        words = _SHORT.get(name) or name.replace("_", " ").capitalize()
        words = re.sub(r"\b(Ref|ref)\b", lambda found: {"Ref": "Reference", "ref": "reference"}[found[1]], words)
        return f"{words} ({self.unit})" if self.unit and self.kind != FILE else words

    @property
    def info(self) -> str:
        """The help line, in which flags have become labels."""
        words = re.sub(r"--([a-z][a-z-]*[a-z])( [A-Z]+)?", lambda found: f"“{found[1].replace('-', ' ')}”", self.help)
        return words[:1].upper() + words[1:] + "."


def fields_of(options: type) -> tuple[Field, ...]:
    """The fields of an options dataclass, in order."""
    found: list[Field] = []
    for option in options_fields.fields_of(options):
        notes, typed = option.metadata, options_fields.kind_of(option)
        inverted = typed.type is bool and option.default is True
        found.append(
            Field(
                name=option.name,
                kind=_kind(option, typed),
                default=option.default,
                help=notes["flag_help"] if inverted else notes["help"],
                group=notes["group"],
                low=notes["low"],
                high=notes["high"],
                choices=notes["choices"],
                unit=notes["unit"] or "",
                whole=typed.type is int,
                optional=typed.optional,
                flag=options_fields.flag_of(option),
                inverted=inverted,
            )
        )
    return tuple(found)


def _kind(option: dataclasses.Field[Any], typed: options_fields.Kind) -> str:
    notes = option.metadata
    if typed.type is bool:
        return THREE_WAY if typed.optional else SWITCH
    if notes["choices"]:
        return CHOICE
    if typed.many:
        return NUMBERS
    if typed.type is Path:
        return FILE
    if typed.type in (int, float):
        low, high = notes["low"], notes["high"]
        narrow = low is not None and high is not None and high - low <= _WIDEST_SLIDER
        default: Any = option.default
        fine = default is None or not 0 < abs(default) < 1e-3
        return SLIDER if narrow and fine and not typed.optional else NUMBER
    return TEXT


def widget(field: Field, *, prefix: str, value: Any = None, high: float | None = None) -> gr.components.Component:
    """The component of a field; its elem_id is `prefix-name`."""
    shared: dict[str, Any] = {"label": field.label, "elem_id": f"{prefix}-{field.name}", "interactive": True}
    start = field.default if value is None else value
    high = field.high if high is None else high
    if field.kind == SWITCH:
        return gr.Checkbox(value=bool(start) != field.inverted, info=field.info, **shared)
    if field.kind == THREE_WAY:
        return gr.Radio([AUTOMATIC, "on", "off"], value=AUTOMATIC, info=field.info, **shared)
    if field.kind == CHOICE:
        choices = ([AUTOMATIC] if field.optional else []) + list(field.choices or ())
        return gr.Dropdown(choices, value=AUTOMATIC if start is None else start, info=field.info, **shared)
    if field.kind == SLIDER:
        assert field.low is not None and high is not None
        step = 1 if field.whole else _step(high - field.low)
        return gr.Slider(field.low, high, value=start, step=step, info=field.info, **shared)
    if field.kind == NUMBER and not field.optional:  # the range is checked by the options, in a better sentence
        precision = 0 if field.whole else None
        return gr.Number(value=start, info=f"{field.info}{_range(field, high)}", precision=precision, **shared)
    if field.kind == FILE:
        about = shared | {"label": f"{field.label}: {field.help}"}
        return gr.File(file_count="single", file_types=list(SUFFIXES.get(field.name, ())) or None, height=168, **about)
    hint = {NUMBERS: "one number, or several with spaces between", NUMBER: AUTOMATIC}.get(field.kind)
    return gr.Textbox(value="", info=f"{field.info}{_range(field, high)}", placeholder=hint, max_lines=1, **shared)


def value_of(field: Field, given: Any) -> Any:
    """What a widget holds, as the option wants it. Raises OptionError for what is not a number."""
    if field.kind == SWITCH:
        return bool(given) != field.inverted
    if field.kind == THREE_WAY:
        return {"on": True, "off": False}.get(given)
    if field.kind == CHOICE:
        return None if field.optional and given in (AUTOMATIC, None) else given
    if given is None or given == "":
        return None if field.optional else field.default
    if field.kind == FILE:
        return Path(str(given))
    if field.kind == NUMBERS:
        return _numbers(field, given)
    if field.kind in (SLIDER, NUMBER):
        return _number(field, given)
    return given


def chosen(fields: Sequence[Field], given: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    """The options that were set; hidden ones keep their defaults. Raises OptionError."""
    return {f.name: value_of(f, given[f.name]) for f in fields if f.name in given and f.name not in hidden}


def command_flags(fields: Sequence[Field], options: Any, show: Callable[[Path], str]) -> list[str]:
    """The flags of all options that are not at their defaults; `show` names an uploaded file."""
    words: list[str] = []
    for field in fields:
        value, flag = getattr(options, field.name), field.flag
        if value == field.default:
            continue
        if value is True or field.inverted:
            words.append(flag)
        elif value is False:
            words.append(flag.replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            words += [flag, *(f"{number:g}" for number in value)]
        else:
            words += [flag, show(value) if isinstance(value, Path) else f"{value:g}" if _is_real(value) else str(value)]
    return words


def _is_real(value: Any) -> bool:
    return isinstance(value, float)


def _number(field: Field, given: Any) -> float | int:
    try:
        return int(given) if field.whole else float(given)
    except (TypeError, ValueError):
        kind = "a whole number" if field.whole else "a number"
        raise OptionError(f"{field.label}: {given!r} is not {kind}.") from None


def _numbers(field: Field, given: Any) -> tuple[float, ...]:
    words = given if isinstance(given, (list, tuple)) else re.split(r"[\s,;]+", str(given).strip())
    try:
        return tuple(float(word) for word in words)
    except (TypeError, ValueError):
        raise OptionError(f"{field.label}: {given!r} is not a number of degrees, or several.") from None


def _step(span: float) -> float:
    return next(step for step in (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0) if span / step <= 200 or step == 1.0)


def _range(field: Field, high: float | None) -> str:
    if field.low is None or high is None or high > 1e6:
        return ""
    return f" {field.low:g} … {high:g}."
