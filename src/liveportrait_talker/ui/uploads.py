"""Uploaded and served files in a private folder that is removed at the end.

The names of uploads are displayed but never used as file names: jobs read links named by role (“the portrait”).
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from ..arrays import Image
from ..errors import MediaError
from ..media import open_footage, read_waveform

MB = 1_000_000
_GRACE_S = 20.0
POSTER_SIDE = 800
"""Longest side of a poster, px."""


@dataclass(frozen=True)
class SourceInfo:
    """Kind, description and first frame of an uploaded picture or video."""

    is_still: bool
    summary: str
    poster: Path


class Uploads:
    """The private folder of one server (mode 0700), with reference counts: each file has a set of owners.

    Args:
        max_mb: largest file, MB.
        max_seconds: longest voice or video, seconds.
    """

    def __init__(self, *, max_mb: float, max_seconds: float) -> None:
        self.max_mb, self.max_seconds = max_mb, max_seconds
        self.root = Path(tempfile.mkdtemp(prefix="lpt-ui-"))
        self.served = self.root / "served"
        """Gradio's folder: uploads, and files that the page may download."""
        self.jobs = self.root / "jobs"
        for folder in (self.served, self.jobs):
            folder.mkdir(mode=0o700)
        self._folders = re.compile(rf"{re.escape(str(self.root))}(?:/\w+)*/")
        self._owners: dict[Path, set[str]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._timer: threading.Timer | None = None
        atexit.register(self.close)

    def inspect_source(self, path: Path, owner: str, name: str = "the file") -> SourceInfo:
        """Check a picture or video by its content and write its poster; `name` is used in messages.

        Raises:
            MediaError: the file cannot be read or exceeds a limit.
        """
        self.retain(path, owner)
        self.check_size(path)
        with self._alias(path, name) as alias, open_footage(alias, max_seconds=self.max_seconds) as footage:
            width, height = footage.size
            poster = self.new_served_path("poster.jpg", owner)
            write_jpeg(footage[0], poster, POSTER_SIDE)
            if footage.fps is None:
                return SourceInfo(True, f"picture, {width}×{height} px", poster)
            seconds = len(footage) / footage.fps
            return SourceInfo(False, f"video, {width}×{height} px, {seconds:.1f} s at {footage.fps:.3g} fps", poster)

    def inspect_voice(self, path: Path, owner: str, name: str = "the voice") -> str:
        """Check a voice by its content; return a description. Raises as `inspect_source` does."""
        self.retain(path, owner)
        self.check_size(path)
        with self._alias(path, name) as alias:
            return f"voice, {read_waveform(alias, max_seconds=self.max_seconds).duration_seconds:.1f} s"

    def check_size(self, path: Path) -> None:
        """Raise MediaError for a file that is too large or missing."""
        try:
            size = path.stat().st_size
        except OSError as error:
            raise MediaError("a file is not here any more: choose it again.") from error
        if size > self.max_mb * MB:
            raise MediaError(f"the file has {size / MB:,.0f} MB, the limit is {self.max_mb:g} MB: send a smaller one.")

    def link(self, path: Path, folder: Path, name: str) -> Path:
        """Link an upload into a job's folder as `name`, so that the job has it after the session ends.

        Raises:
            MediaError: the upload is missing or cannot be copied.
        """
        target = folder / name
        try:
            os.link(path, target)
        except OSError:  # another file system, or one without links
            try:
                shutil.copyfile(path, target)
            except OSError as error:
                raise MediaError(f"{name} cannot be read: {error.strerror or error}; choose it again.") from error
        return target

    def hide_folders(self, text: str) -> str:
        """Remove this server's private folders from a message."""
        return self._folders.sub("", text)

    def new_served_path(self, name: str, owner: str) -> Path:
        """Return a new path that the page may download, retained by `owner`."""
        folder = self.served / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        self.retain(folder / name, owner)
        return folder / name

    def serve_copy(self, path: Path, owner: str) -> Path:
        """Copy a file to where the page may download it."""
        copy = self.new_served_path(path.name, owner)
        shutil.copyfile(path, copy)
        return copy

    def serve_result(self, path: Path, name: str, owner: str) -> Path:
        """Move a job's output to where the page may download it."""
        return path.rename(self.new_served_path(name, owner))

    def retain(self, path: Path, owner: str) -> None:
        """Add an owner to a file."""
        with self._lock:
            self._owners.setdefault(path.resolve(), set()).add(owner)

    def retain_all(self, owner: str) -> None:
        """Add an owner to all served files, such as the examples' pictures."""
        for path in self.served.rglob("*"):
            self.retain(path, owner)

    def release(self, owner: str) -> None:
        """Remove an owner from all files, and the files that have no owner left."""
        with self._lock:
            for owners in self._owners.values():
                owners.discard(owner)
        self._remove_unowned()

    def _remove_unowned(self) -> None:
        """Remove files without owners. New ones are kept for a while: their owner may not have been added yet."""
        retry = False
        with self._lock:
            for path in [path for path, owners in self._owners.items() if not owners]:
                if path.exists() and time.time() - path.stat().st_mtime < _GRACE_S:
                    retry = True
                    continue
                del self._owners[path]
                if path.parent.parent == self.served.resolve():
                    shutil.rmtree(path.parent, ignore_errors=True)
            if retry and not self._closed:
                self._timer = threading.Timer(_GRACE_S, self._remove_unowned)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Remove all files; may be called twice."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        atexit.unregister(self.close)
        shutil.rmtree(self.root, ignore_errors=True)

    @contextmanager
    def _alias(self, path: Path, name: str) -> Iterator[Path]:
        """Yield a symbolic link called `name`, so that error messages name the file's role and not its path."""
        folder = self.jobs / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        try:
            (folder / name).symlink_to(path.resolve())
            yield folder / name
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def write_jpeg(image: Image, path: Path, max_side: int | None = None) -> None:
    """Write an (H, W, 3) RGB image, scaled down if a side is longer than `max_side` px."""
    height, width, _ = image.shape
    scale = min(1.0, (max_side or max(height, width)) / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
