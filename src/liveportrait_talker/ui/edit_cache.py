"""Cached edit sessions, one a page, for the live preview of the Edit tab."""

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

_MAX_SESSIONS = 8


def preview_setup(setup: EditSetup) -> EditSetup:
    """Return the setup of the live preview: the embedded renderer, unless the neural one is selected by name.

    On a CPU the networks take seconds an image, and the preview runs in the server's own process.
    """
    shared = (ImageOptions, RendererOptions) if setup.renderer == "neural" else (ImageOptions,)
    kept = {each.name: getattr(setup, each.name) for options in shared for each in dataclasses.fields(options)}
    return dataclasses.replace(EditSetup(renderer="embedded"), **kept)


class EditCache:
    """The most recently used edit sessions. One image is drawn at a time: edit sessions are not thread-safe."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[tuple[Path, EditSetup], EditSession]] = OrderedDict()
        self._lock = threading.Lock()
        self._editor: Editor | None = None

    def draw(self, owner: str, portrait: Path, edit: EditOptions, setup: EditSetup) -> tuple[Image, str]:
        """Return the edited portrait, (H, W, 3) uint8 RGB, and the renderer's name; see `preview_setup`.

        The first image of a portrait takes seconds, further ones tens of milliseconds. Raises TalkerError.
        """
        key = portrait, preview_setup(setup)
        with self._lock:
            cached = self._sessions.pop(owner, None)
            session = cached[1] if cached is not None and cached[0] == key else self._open(*key)
            self._sessions[owner] = (key, session)
            while len(self._sessions) > _MAX_SESSIONS:
                self._sessions.popitem(last=False)
            return session.draw(edit), session.renderer

    def drop(self, owner: str) -> None:
        """Remove the session of a page that was closed."""
        with self._lock:
            self._sessions.pop(owner, None)

    def _open(self, portrait: Path, setup: EditSetup) -> EditSession:
        from ..pipelines.edit import Editor

        self._editor = self._editor or Editor()
        return self._editor.open(portrait, setup=setup)
