"""The settings of a tab: one widget for each option, in accordions; options without effect are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .fields import FILE, FILES, Field, build_widget, parse_value


@dataclass(frozen=True)
class SettingsPanel:
    """Widgets by option name, and accordions by group name.

    `limits` are upper limits of this server, by option name, which apply even if the widget holds a larger value.
    """

    fields: tuple[Field, ...]
    widgets: Mapping[str, Any]
    groups: Mapping[str, gr.Accordion]
    limits: Mapping[str, float]

    @property
    def components(self) -> list[Any]:
        """Every widget, in the order of the fields."""
        return [self.widgets[field.name] for field in self.fields]

    @property
    def outputs(self) -> list[Any]:
        """Widgets, then accordions: the components that `update_visibility` updates."""
        return [*self.components, *self.groups.values()]

    @property
    def files(self) -> list[Any]:
        """The widgets that take files."""
        return [self.widgets[field.name] for field in self.fields if field.kind in (FILE, FILES)]

    def by_name(self, values: Sequence[Any]) -> dict[str, Any]:
        """Map the widgets' values to their names, without those at or above this server's limits."""
        named = zip((field.name for field in self.fields), values, strict=True)
        return {name: value for name, value in named if name not in self.limits or (value or 0) < self.limits[name]}

    def parse(self, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        """Convert the values of some widgets to option values. Raises OptionError for an invalid one."""
        fields = {field.name: field for field in self.fields}
        return {name: parse_value(fields[name], value) for name, value in zip(names, values, strict=True)}

    def update_visibility(self, hidden: set[str], changes: Mapping[str, Mapping[str, Any]] | None = None) -> list[Any]:
        """Return updates for `outputs` that hide some options, and accordions in which all are hidden.

        `changes` are further updates by option name.
        """
        updates: list[Any] = []
        for field in self.fields:
            more = (changes or {}).get(field.name, {})
            updates.append(gr.update(visible=field.name not in hidden, **more))
        for group in self.groups:
            updates.append(gr.update(visible=any(f.group == group and f.name not in hidden for f in self.fields)))
        return updates


def build_settings(
    fields: Sequence[Field],
    *,
    prefix: str,
    hidden: set[str],
    placed: Mapping[str, Any] | None = None,
    limits: Mapping[str, float] | None = None,
    titles: Mapping[str, str] | None = None,
    opened: Sequence[str] = (),
) -> SettingsPanel:
    """Build the widgets of all fields.

    Args:
        fields: the options.
        prefix: start of every elem_id.
        hidden: names of the options without effect at first.
        placed: widgets that are elsewhere on the page already, by name.
        limits: upper limits of this server, where they may be lower than the option's own, by name.
        titles: titles of groups, by name, where they differ from the name.
        opened: groups that are open at first.
    """
    placed, limits, titles = placed or {}, limits or {}, titles or {}
    widgets: dict[str, Any] = dict(placed)
    groups: dict[str, gr.Accordion] = {}
    for group in dict.fromkeys(field.group for field in fields):
        inside = [field for field in fields if field.group == group and field.name not in placed]
        if not inside:
            continue
        accordion = gr.Accordion(
            titles.get(group, group[:1].upper() + group[1:]),
            open=group in opened,
            visible=any(field.name not in hidden for field in inside),
            elem_id=f"{prefix}-group-{group.replace(' ', '-')}",
        )
        with accordion as groups[group]:
            for field in inside:
                limit = limits.get(field.name)
                start = None if limit is None or field.default is None else min(field.default, limit)
                widgets[field.name] = build_widget(field, prefix=prefix, value=start, high=limit)
                widgets[field.name].visible = field.name not in hidden
    return SettingsPanel(tuple(fields), widgets, groups, limits)
