"""What users send: a private folder, judged by content, removed afterwards.

The names that files come with are shown, never used: here a file is called by what it is for.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import MediaError
from ..media import open_footage, read_waveform

MB = 1_000_000
_GRACE_S = 20.0
POSTER_SIDE = 800
"""Longest side of a poster, px."""


@dataclass(frozen=True)
class Picture:
    """What is known of a picture or video after a look at it."""

    is_still: bool
    summary: str
    poster: Path
    """Its first frame, for the page."""


class Uploads:
    """The private folder of one server (mode 0700), and who uses which of its files.

    Args:
        max_mb: largest file.
        max_seconds: longest voice or video.
    """

    def __init__(self, *, max_mb: float, max_seconds: float) -> None:
        self.max_mb, self.max_seconds = max_mb, max_seconds
        self.root = Path(tempfile.mkdtemp(prefix="lpt-ui-"))
        self.served = self.root / "served"
        """Gradio's own folder: what was uploaded, and what the page may fetch."""
        self.jobs = self.root / "jobs"
        for folder in (self.served, self.jobs):
            folder.mkdir(mode=0o700)
        self._folders = re.compile(rf"{re.escape(str(self.root))}(?:/\w+)*/")
        self._users: dict[Path, set[str]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._later: threading.Timer | None = None
        atexit.register(self.close)

    def look(self, path: Path, owner: str, name: str = "the file") -> Picture:
        """Judge a picture or video by its content. Raises MediaError in one sentence."""
        self.hold(path, owner)
        self.check_size(path)
        with self._named(path, name) as alias, open_footage(alias, max_seconds=self.max_seconds) as footage:
            width, height = footage.size
            poster = self.new_served("poster.jpg", owner)
            write_picture_for_page(footage[0], poster, POSTER_SIDE)
            if footage.fps is None:
                return Picture(True, f"picture, {width}×{height} px", poster)
            seconds = len(footage) / footage.fps
            return Picture(False, f"video, {width}×{height} px, {seconds:.1f} s at {footage.fps:.3g} fps", poster)

    def listen(self, path: Path, owner: str, name: str = "the voice") -> str:
        """Judge a voice by its content; what it is, in a few words. Raises MediaError in one sentence."""
        self.hold(path, owner)
        self.check_size(path)
        with self._named(path, name) as alias:
            return f"voice, {read_waveform(alias, max_seconds=self.max_seconds).duration_seconds:.1f} s"

    def check_size(self, path: Path) -> None:
        """Raise MediaError for a file over the limit, or one that is gone."""
        try:
            size = path.stat().st_size
        except OSError as error:
            raise MediaError("a file is not here any more: choose it again.") from error
        if size > self.max_mb * MB:
            raise MediaError(f"the file has {size / MB:,.0f} MB, the limit is {self.max_mb:g} MB: send a smaller one.")

    def lend(self, path: Path, folder: Path, name: str) -> Path:
        """A job's own link to an upload, under a name of ours: it stays while the job needs it.

        Raises MediaError where the upload is gone, or cannot be copied.
        """
        place = folder / name
        try:
            os.link(path, place)
        except OSError:  # another file system, or one without links
            try:
                shutil.copyfile(path, place)
            except OSError as error:
                raise MediaError(f"{name} cannot be read: {error.strerror or error}; choose it again.") from error
        return place

    def names_only(self, text: str) -> str:
        """A text without this server's private folders."""
        return self._folders.sub("", text)

    def new_served(self, name: str, owner: str) -> Path:
        """A path for something that the page may fetch; it lives as long as the owner's session."""
        folder = self.served / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        self.hold(folder / name, owner)
        return folder / name

    def copy(self, path: Path, owner: str) -> Path:
        """A copy of a file of ours that the page may fetch."""
        copy = self.new_served(path.name, owner)
        shutil.copyfile(path, copy)
        return copy

    def keep(self, made: Path, name: str, owner: str) -> Path:
        """Move what a job made to where the page may fetch it."""
        kept = self.new_served(name, owner)
        made.rename(kept)
        return kept

    def hold(self, path: Path, owner: str) -> None:
        """Remember that a session uses a file."""
        with self._lock:
            self._users.setdefault(path.resolve(), set()).add(owner)

    def release(self, owner: str) -> None:
        """A session ended: remove the files that no other uses."""
        with self._lock:
            for users in self._users.values():
                users.discard(owner)
        self._sweep()

    def hold_all(self, owner: str) -> None:
        """Keep what is there now, such as the pictures of the examples."""
        for path in self.served.rglob("*"):
            self.hold(path, owner)

    def _sweep(self) -> None:
        """Remove what nobody uses. A file that has just come may be another page's, which will say so in a moment."""
        young = False
        with self._lock:
            for path in [path for path, users in self._users.items() if not users]:
                if path.exists() and time.time() - path.stat().st_mtime < _GRACE_S:
                    young = True
                    continue
                del self._users[path]
                if path.parent.parent == self.served.resolve():
                    shutil.rmtree(path.parent, ignore_errors=True)
            if young and not self._closed:
                self._later = threading.Timer(_GRACE_S, self._sweep)
                self._later.daemon = True
                self._later.start()

    def close(self) -> None:
        """Remove everything; safe to call twice."""
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        atexit.unregister(self.close)
        shutil.rmtree(self.root, ignore_errors=True)

    def _named(self, path: Path, name: str) -> _Alias:
        return _Alias(self.jobs / secrets.token_hex(8), path, name)


def write_picture_for_page(picture: npt.NDArray[np.uint8], path: Path, side: int | None = None) -> None:
    """Write (H, W, 3) uint8 RGB, made smaller where a side is longer than `side` px."""
    height, width, _ = picture.shape
    scale = min(1.0, (side or max(height, width)) / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


class _Alias:
    """An upload under another name, so that messages speak of “the portrait” and not of a cache's file."""

    def __init__(self, folder: Path, path: Path, name: str) -> None:
        self._folder, self._path, self._name = folder, path, name

    def __enter__(self) -> Path:
        self._folder.mkdir(mode=0o700)
        alias = self._folder / self._name
        alias.symlink_to(self._path.resolve())
        return alias

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
