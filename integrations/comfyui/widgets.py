"""Widgets made from our options, so that ranges, defaults and help are those of the package."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from comfy_api.latest import io

from liveportrait_talker import OptionError
from liveportrait_talker.options.fields import kind_of

AUTOMATIC = "auto"

Options = TypeVar("Options")


def widget(options: type[Any], name: str, *, step: float = 0.01, **changes: Any) -> io.Input:
    """Return the widget of one option.

    A number that may be left out (`None`) has 0 for that, a switch becomes a choice of auto, on and off.

    Args:
        options: a dataclass of options.
        name: of the field.
        step: of a number with decimals.
        changes: keywords of the widget that differ from the option's.
    """
    field = next(each for each in dataclasses.fields(options) if each.name == name)
    kind, limits, default = kind_of(field), field.metadata, field.default
    given: dict[str, Any] = {"tooltip": limits["help"], "default": default}
    if kind.type is bool and kind.optional:
        given |= {"options": [AUTOMATIC, "on", "off"], "default": AUTOMATIC}
        return io.Combo.Input(name, **given | changes)
    if kind.type is bool:
        return io.Boolean.Input(name, **given | changes)
    if limits["choices"] is not None:
        choices = [*([AUTOMATIC] if kind.optional else []), *limits["choices"]]
        return io.Combo.Input(name, **given | {"options": choices, "default": default or choices[0]} | changes)
    if kind.type is str:
        return io.String.Input(name, **given | changes)
    given |= {"min": limits["low"], "max": limits["high"]}
    if kind.optional:
        given |= {"min": 0, "default": 0, "tooltip": f"{limits['help']} (0: automatic)"}
    if kind.type is int:
        return io.Int.Input(name, **given | changes)
    return io.Float.Input(name, step=step, **{key: _as_float(value) for key, value in (given | changes).items()})


def background(options: type[Any]) -> io.Input:
    """Return the widget of what is behind the person; a picture of ComfyUI's goes behind by IMAGE and MASK."""
    help = "what is behind the person of a picture: keep (its own), a colour (#rrggbb, green, white …) or transparent"
    return widget(options, "background", tooltip=help)


def share(name: str, tooltip: str) -> io.Input:
    """Return a slider 0…1, 0.5 by default."""
    return io.Float.Input(
        name, default=0.5, min=0.0, max=1.0, step=0.01, display_mode=io.NumberDisplay.slider, tooltip=tooltip
    )


def options_of(options: type[Options], values: dict[str, Any]) -> Options:
    """Return the options that widgets say. Raises OptionError, in one sentence."""
    fields = {field.name: kind_of(field) for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    made = options(**{name: _value(fields[name].optional, value) for name, value in values.items()})
    if getattr(made, "background_file", None) is not None:
        raise OptionError("background takes a colour: to put a picture behind the person, lay IMAGE and MASK over it.")
    return made


def _value(is_optional: bool, value: Any) -> Any:
    if not is_optional:
        return value
    return {AUTOMATIC: None, "on": True, "off": False, 0: None}.get(value, value)


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
