"""Settings of a tab: widgets in folded groups, of which those that do not apply are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .fields import FILE, Field, value_of, widget


@dataclass(frozen=True)
class Panel:
    """The widgets of an options dataclass, by the option's name, and their groups."""

    fields: tuple[Field, ...]
    widgets: Mapping[str, Any]
    groups: Mapping[str, gr.Accordion]

    @property
    def components(self) -> list[Any]:
        """Every widget, in the order of the fields."""
        return [self.widgets[field.name] for field in self.fields]

    @property
    def everything(self) -> list[Any]:
        """Widgets, then groups: what `shown` updates."""
        return [*self.components, *self.groups.values()]

    @property
    def files(self) -> list[Any]:
        """The widgets that take a file."""
        return [self.widgets[field.name] for field in self.fields if field.kind == FILE]

    def given(self, values: Sequence[Any]) -> dict[str, Any]:
        """What the widgets hold, by name."""
        return dict(zip((field.name for field in self.fields), values, strict=True))

    def read(self, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        """The options of a few widgets."""
        by_name = {field.name: field for field in self.fields}
        return {name: value_of(by_name[name], value) for name, value in zip(names, values, strict=True)}

    def shown(self, hidden: set[str], changes: Mapping[str, Mapping[str, Any]] | None = None) -> list[Any]:
        """Updates for `everything`: what is hidden goes, and a group with it that holds nothing else.

        `changes` are further changes of single widgets.
        """
        updates: list[Any] = []
        for field in self.fields:
            more = (changes or {}).get(field.name, {})
            updates.append(gr.update(visible=field.name not in hidden, **more))
        for group in self.groups:
            alive = any(f.group == group and f.name not in hidden for f in self.fields if f.name in self.widgets)
            updates.append(gr.update(visible=alive))
        return updates


def panel(
    fields: Sequence[Field],
    *,
    prefix: str,
    hidden: set[str],
    placed: Mapping[str, Any] | None = None,
    highs: Mapping[str, float] | None = None,
    titles: Mapping[str, str] | None = None,
    opened: Sequence[str] = (),
) -> Panel:
    """Draw the widgets of all fields.

    Args:
        fields: what to draw.
        prefix: start of every elem_id.
        hidden: the names that do not apply at first.
        placed: widgets that stand somewhere else on the page already.
        highs: limits of this server, where they are lower than the option's own.
        titles: a group's title, where it differs from its name.
        opened: groups that are open at first.
    """
    placed, highs, titles = placed or {}, highs or {}, titles or {}
    widgets: dict[str, Any] = dict(placed)
    groups: dict[str, gr.Accordion] = {}
    for group in dict.fromkeys(field.group for field in fields):
        inside = [field for field in fields if field.group == group and field.name not in placed]
        if not inside:
            continue
        title = titles.get(group, group[:1].upper() + group[1:])
        alive = any(field.name not in hidden for field in inside)
        place = gr.Accordion(title, open=group in opened, visible=alive, elem_id=f"{prefix}-group-{_slug(group)}")
        with place as groups[group]:
            for field in inside:
                high = highs.get(field.name)
                start = None if high is None or field.default is None else min(field.default, high)
                made = widget(field, prefix=prefix, value=start, high=high)
                made.visible = field.name not in hidden
                widgets[field.name] = made
    return Panel(tuple(fields), widgets, groups)


def _slug(group: str) -> str:
    return group.replace(" ", "-")
