"""Widgets, option values and command lines, derived from the metadata of the options."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import OptionError
from ..options import fields as options_fields

AUTOMATIC = "automatic"
SWITCH, THREE_WAY, CHOICE, SLIDER = "switch", "three-way", "choice", "slider"
NUMBER, NUMBERS, FILE, FILES, TEXT = "number", "numbers", "file", "files", "text"
SUFFIXES = {"mapping": (".safetensors",), "expression_keys": (".json", ".csv")}
"""Required suffixes; other files are recognised by their content."""
_WIDEST_SLIDER = 200  # wider ranges get a text box
_HELP = {"background": "keep, or a colour, as white or #00b140; pictures and transparency on the command line only"}
"""Help texts that differ from the command line's."""
_LABELS = {"fps": "Frame rate", "no_crop": "Whole frame is the face"}


@dataclass(frozen=True)
class Field:
    """One option and how the page presents it."""

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
    """Integers only."""
    optional: bool = False
    """None, an empty widget, means automatic."""
    flag: str = ""
    """Flag of the command line."""
    inverted: bool = False
    """A switch that is on by default; its flag and its checkbox turn it off."""

    @property
    def label(self) -> str:
        """The name in words, with its unit."""
        name = self.flag.removeprefix("--").replace("-", "_") if self.inverted else self.name
        words = _LABELS.get(name) or name.replace("_", " ").capitalize()
        words = re.sub(r"\b(Ref|ref)\b", lambda found: {"Ref": "Reference", "ref": "reference"}[found[1]], words)
        return f"{words} ({self.unit})" if self.unit and self.kind not in (FILE, FILES, TEXT) else words

    @property
    def info(self) -> str:
        """The help text, with flags replaced by labels."""
        words = re.sub(r"--([a-z][a-z-]*[a-z])( [A-Z]+)?", lambda found: f"“{found[1].replace('-', ' ')}”", self.help)
        return words[:1].upper() + words[1:] + "."


def fields_of(options: type) -> tuple[Field, ...]:
    """Return the fields of an options dataclass, by group."""
    fields: list[Field] = []
    for option in options_fields.fields_of(options):
        metadata, typed = option.metadata, options_fields.kind_of(option)
        inverted = typed.type is bool and option.default is True
        fields.append(
            Field(
                name=option.name,
                kind=_widget_kind(option, typed),
                default=option.default,
                help=_HELP.get(option.name) or (metadata["flag_help"] if inverted else metadata["help"]),
                group=metadata["group"],
                low=metadata["low"],
                high=metadata["high"],
                choices=metadata["choices"],
                unit=metadata["unit"] or "",
                whole=typed.type is int,
                optional=typed.optional,
                flag=options_fields.flag_of(option),
                inverted=inverted,
            )
        )
    return tuple(fields)


def _widget_kind(option: dataclasses.Field[Any], typed: options_fields.Kind) -> str:
    metadata = option.metadata
    if typed.type is bool:
        return THREE_WAY if typed.optional else SWITCH
    if metadata["choices"]:
        return CHOICE
    if typed.type is Path:
        return FILES if typed.many else FILE
    if typed.many:
        return NUMBERS
    if typed.type in (int, float):
        low, high = metadata["low"], metadata["high"]
        narrow = low is not None and high is not None and high - low <= _WIDEST_SLIDER
        default: Any = option.default
        fine = default is None or not 0 < abs(default) < 1e-3
        return SLIDER if narrow and fine and not typed.optional else NUMBER
    return TEXT


def build_widget(field: Field, *, prefix: str, value: Any = None, high: float | None = None) -> gr.components.Component:
    """Build the component of a field, with the elem_id `prefix-name`.

    `value` and `high` replace the default and the upper limit.
    """
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
        step = 1 if field.whole else _slider_step(high - field.low)
        return gr.Slider(field.low, high, value=start, step=step, info=field.info, **shared)
    if field.kind == NUMBER and not field.optional:  # the options check the range, with a better message
        precision = 0 if field.whole else None
        return gr.Number(value=start, info=f"{field.info}{_limits(field, high)}", precision=precision, **shared)
    if field.kind in (FILE, FILES):
        shared["label"] = f"{field.label}: {field.help}"
        count: Any = "multiple" if field.kind == FILES else "single"
        suffixes = list(SUFFIXES.get(field.name, ())) or None
        return gr.File(file_count=count, file_types=suffixes, height=200, elem_classes="lpt-file", **shared)
    hint = {NUMBERS: "one number, or several with spaces between", NUMBER: AUTOMATIC}.get(field.kind)
    return gr.Textbox(value="", info=f"{field.info}{_limits(field, high)}", placeholder=hint, max_lines=1, **shared)


def _clamp_to_range(self: gr.Slider, payload: float | None) -> float | None:
    """Return the nearest value in the range for a typed one outside it, as the browser does soon after."""
    return None if payload is None else min(max(payload, self.minimum), self.maximum)


# On the class, as each update of a slider makes a new one. Gradio writes a .pyi file beside the source of a subclass.
gr.Slider.preprocess = _clamp_to_range  # type: ignore[assignment, method-assign]


def parse_value(field: Field, given: Any) -> Any:
    """Convert a widget's value to an option's. Raises OptionError for an invalid number."""
    if field.kind == SWITCH:
        return bool(given) != field.inverted
    if field.kind == THREE_WAY:
        return {"on": True, "off": False}.get(given)
    if field.kind == CHOICE:
        return None if field.optional and given in (AUTOMATIC, None) else given
    if given is None or given == "":
        return None if field.optional else field.default
    if field.kind in (FILE, FILES):
        return uploaded(given) if field.kind == FILES else Path(str(given))
    if field.kind == NUMBERS:
        return _parse_numbers(field, given)
    if field.kind in (SLIDER, NUMBER):
        return _parse_number(field, given)
    return given


def uploaded(given: Any) -> tuple[Path, ...]:
    """Return the files in the value of an upload: one, a list of several, or none."""
    return tuple(Path(str(one)) for one in (given if isinstance(given, (list, tuple)) else [given]) if one)


def parse_values(fields: Sequence[Field], given: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    """Convert the widgets' values by name, without those in `hidden`. Raises OptionError as `parse_value` does."""
    return {f.name: parse_value(f, given[f.name]) for f in fields if f.name in given and f.name not in hidden}


def command_flags(fields: Sequence[Field], options: Any) -> list[str]:
    """Return command-line flags for all options that differ from their defaults; of paths, the file name."""
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
            words += [flag, *map(_word, value)]
        else:
            words += [flag, _word(value)]
    return words


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value.name if isinstance(value, Path) else str(value)


def _parse_number(field: Field, given: Any) -> float | int:
    try:
        return int(given) if field.whole else float(given)
    except (TypeError, ValueError):
        kind = "a whole number" if field.whole else "a number"
        raise OptionError(f"{field.label}: {given!r} is not {kind}.") from None


def _parse_numbers(field: Field, given: Any) -> tuple[float, ...]:
    words = given if isinstance(given, (list, tuple)) else re.split(r"[\s,;]+", str(given).strip())
    try:
        return tuple(float(word) for word in words)
    except (TypeError, ValueError):
        raise OptionError(f"{field.label}: {given!r} is not a number of degrees, or several.") from None


def _slider_step(span: float) -> float:
    return next(step for step in (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0) if span / step <= 200 or step == 1.0)


def _limits(field: Field, high: float | None) -> str:
    if field.low is None or high is None or high > 1e6:
        return ""
    return f" {field.low:g} … {high:g}."
