"""Which options have an effect with which renderer, driver and other options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import OptionError
from .fields import changed_fields, flag_of

_ENGINES = {
    "renderer": {"neural": {"neural"}, "embedded": {"embedded"}, "hybrid": {"hybrid", "embedded"}},
    "driver": {"learned": {"learned"}, "signal": {"signal"}},
}
"""Renderers and drivers by name, and the conditions that hold with each: the hybrid one also draws as the embedded."""


def has_effect(option: dataclasses.Field[Any], conditions: set[str]) -> bool:
    """Return whether an option has an effect where `conditions` hold; see `option(needs=…)`."""
    alternatives = _alternatives(option)
    return not alternatives or any(each <= conditions for each in alternatives)


def conditions_from(values: Mapping[str, Any], renderer: str, driver: str | None = None) -> set[str]:
    """Return the conditions that hold with these values of options, a renderer and a driver by name."""
    conditions = {name for name in (renderer, driver) if name} | _ENGINES["renderer"].get(renderer, set())
    if values.get("head_pose") == "audio":
        conditions.add("audio head")
    if values.get("head_style") == "classic":
        conditions.add("classic head")
    if values.get("crop"):
        conditions.add("crop")
    return conditions


def without_effect(options: type[Any], conditions: set[str]) -> set[str]:
    """Return the names of the fields of an options dataclass that have no effect under these conditions."""
    return {each.name for each in dataclasses.fields(options) if not has_effect(each, conditions)}


def flags_without_effect(options: Any, renderer: str, driver: str | None = None) -> list[str]:
    """Return the flags of options that were changed and have no effect with this renderer and driver."""
    conditions = conditions_from(vars(options), renderer, driver)
    return [flag_of(each) for each in changed_fields(options) if not has_effect(each, conditions)]


def check_engines(options: Any) -> None:
    """Raise OptionError for an option that only another renderer or driver has than the one asked for by name."""
    for each in changed_fields(options):
        alternatives = _alternatives(each)
        for kind, engines in _ENGINES.items():
            asked = getattr(options, kind, None)
            needed = [part & engines.keys() for part in alternatives]
            if asked in engines and needed and all(needed) and not any(one <= engines[asked] for one in needed):
                other = next(name for name in engines if name in needed[0])
                flag = flag_of(each)
                raise OptionError(f"{flag} is about the {other} {kind}: leave it out with --{kind} {asked}.")


def _alternatives(option: dataclasses.Field[Any]) -> list[set[str]]:
    """Return the sets of conditions of which one must hold; none: the option always has an effect."""
    return [set(each.split("+")) for each in option.metadata["needs"]]
