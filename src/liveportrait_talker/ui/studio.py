"""Portraits that are ready to be edited, one a page: what makes a slider's move quick."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from ..arrays import Image
from ..options.edit import EditOptions, EditSetup
from ..options.shared import ImageOptions, RendererOptions

if TYPE_CHECKING:
    from ..pipelines.edit import Editor, EditSession

_MOST = 8
"""Pages whose portrait stays in memory; the one that was quiet for longest goes first."""


def live_setup(setup: EditSetup) -> EditSetup:
    """How a slider's move is drawn: by the embedded renderer, unless the neural one was chosen by name.

    On a processor the networks take seconds a picture, here in the server's own process.
    """
    shared = (ImageOptions, RendererOptions) if setup.renderer == "neural" else (ImageOptions,)
    kept = {each.name: getattr(setup, each.name) for options in shared for each in dataclasses.fields(options)}
    return dataclasses.replace(EditSetup(renderer="embedded"), **kept)


class Studio:
    """The sessions of all pages. One portrait is drawn at a time: a face's session is not for several threads."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[tuple[Path, EditSetup], EditSession]] = OrderedDict()
        self._lock = threading.Lock()
        self._editor: Editor | None = None

    def draw(self, owner: str, portrait: Path, edit: EditOptions, setup: EditSetup) -> tuple[Image, str]:
        """The portrait with this expression, (H, W, 3) uint8 RGB, and who drew it: see `live_setup`.

        Raises TalkerError. The first picture of a portrait takes a second or a few, the next ones tens of milliseconds.
        """
        setup = live_setup(setup)
        with self._lock:
            wanted = (portrait, setup)
            known = self._sessions.pop(owner, None)
            session = known[1] if known is not None and known[0] == wanted else self._open(portrait, setup)
            self._sessions[owner] = (wanted, session)
            while len(self._sessions) > _MOST:
                self._sessions.popitem(last=False)
            return session.draw(edit), session.renderer

    def leave(self, owner: str) -> None:
        """A page was closed."""
        with self._lock:
            self._sessions.pop(owner, None)

    def _open(self, portrait: Path, setup: EditSetup) -> EditSession:
        from ..pipelines.edit import Editor

        self._editor = self._editor or Editor()
        return self._editor.open(portrait, setup=setup)
