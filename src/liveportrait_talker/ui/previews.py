"""The live preview of the Edit tab, drawn in a process of its own that keeps the edit sessions of open pages."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TalkerError
from ..options.applicability import has_effect
from ..options.edit import EditOptions, EditSetup
from ..options.shared import ImageOptions, RendererOptions
from ..progress import OnProgress
from .tasks import editor
from .uploads import Uploads, mouth_names
from .worker import Task, Worker

if TYPE_CHECKING:
    from ..pipelines.edit import EditSession

_MAX_SESSIONS = 8
_MAX_SECONDS = 120.0  # for an image; the networks may have to be loaded
_POLL_S = 0.05
_KEPT_PICTURES = 3  # of a page, which may still be loading the one before the last
_PICTURE = "live.jpg"


def preview_setup(setup: EditSetup) -> EditSetup:
    """Return the setup of the live preview: the embedded renderer, unless the neural one is selected by name.

    On a CPU the networks take seconds an image.
    """
    renderer = "neural" if setup.renderer == "neural" else "embedded"
    shared = [each for options in (ImageOptions, RendererOptions) for each in dataclasses.fields(options)]
    kept = {each.name: getattr(setup, each.name) for each in shared if has_effect(each, {renderer})}
    return EditSetup(**kept | {"renderer": renderer})


class Previews:
    """Draws previews, one at a time. The process is started with the first one, and again after a crash."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._closed = False
        self._shown: dict[str, deque[Path]] = {}
        """Owner → its last pictures."""

    def draw(self, owner: str, portrait: Path, edit: EditOptions, setup: EditSetup) -> tuple[Path, str]:
        """Return a JPEG file of the edited portrait, which the page may show, and the renderer's name.

        See `preview_setup`. The first image of a portrait takes seconds, further ones tens of milliseconds.

        Raises:
            TalkerError: an error that the user can correct.
        """
        self.prepare()
        self._uploads.require_space()
        self._uploads.require_inspected(portrait, owner, "the portrait")
        if edit.sample is not None:
            self._uploads.require_inspected(edit.sample, owner, "the sample")
        for name, path in mouth_names(setup.mouth_from):
            self._uploads.require_inspected(path, owner, name)
        picture = self._uploads.new_served_path(_PICTURE, owner)
        arguments = {"owner": owner, "portrait": portrait, "edit": edit, "setup": preview_setup(setup)}
        with self._lock:
            shown = self._shown.setdefault(owner, deque())
            renderer = str(self._run(Task("preview", picture.parent, arguments))["renderer"])
            shown.append(picture)
            old = shown.popleft() if len(shown) > _KEPT_PICTURES else None
        if old is not None:
            self._uploads.discard(old, owner)
        return picture, renderer

    def drop(self, owner: str) -> None:
        """Remove the session of a page that was closed."""
        with self._lock, suppress(TalkerError):
            if self._shown.pop(owner, None) is not None:
                self._run(Task("drop", Path(), {"owner": owner}))

    def prepare(self) -> None:
        """Start the process before the first preview needs it."""
        with self._lock:
            self._live_worker()

    def _live_worker(self) -> Worker:
        if self._closed:
            raise TalkerError("the page is being closed.")
        if self._worker is None or not self._worker.is_alive():
            self._worker = Worker(run_preview)
        return self._worker

    def close(self) -> None:
        """End the process."""
        self._closed = True
        if self._worker is not None:
            self._worker.kill()

    def _run(self, task: Task) -> Mapping[str, Any]:
        """Run a task in the process. Raises TalkerError."""
        worker = self._live_worker()
        end = time.monotonic() + _MAX_SECONDS
        try:
            worker.start(task)
            while time.monotonic() < end:
                if not worker.messages.poll(_POLL_S):
                    continue
                kind, content = worker.messages.recv()
                if kind == "failed":
                    raise TalkerError(content)
                if kind == "done":
                    result: Mapping[str, Any] = content
                    return result
        except (EOFError, OSError) as error:
            worker.kill()
            raise TalkerError("the preview failed: the computer may have run out of memory; move a slider.") from error
        worker.kill()
        raise TalkerError("the preview took too long: move a slider to try it again.")


_sessions: OrderedDict[str, tuple[tuple[Path, EditSetup], EditSession]] = OrderedDict()


def run_preview(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Draw a preview; runs in the process. Raises TalkerError."""
    if task.kind == "warm up":
        from ..render.embedded import renderer  # noqa: F401

        editor()
        return {}
    if task.kind == "drop":
        _sessions.pop(task.arguments["owner"], None)
        return {}
    from ..media.inspection import write_jpeg

    given = task.arguments
    key, owner = (given["portrait"], given["setup"]), given["owner"]
    cached = _sessions.pop(owner, None)
    session = cached[1] if cached is not None and cached[0] == key else editor().open(key[0], setup=key[1])
    _sessions[owner] = (key, session)
    while len(_sessions) > _MAX_SESSIONS:
        _sessions.popitem(last=False)
    image = session.draw(given["edit"])
    write_jpeg(image, task.folder / _PICTURE, max(image.shape))
    return {"renderer": session.renderer}
