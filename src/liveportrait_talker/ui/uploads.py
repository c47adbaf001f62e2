"""Uploaded and served files in a private folder that is removed at the end.

The names of uploads are displayed but never used as file names: jobs read links named by role (“the portrait”).
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path

from ..errors import MediaError, OptionError
from ..system.temporary_folders import TemporaryFolder
from .inspections import Inspections

MAX_MOUTHS = 8
"""Files of `mouth_from` in one request."""

FACES_S = 20.0
"""Start of a video in which its faces are looked for, seconds."""
MB = 1_000_000
SERVER = "server"
"""Owner of the page's own files."""
_GRACE_S = 20.0
_SWEEP_S = 30.0
_UNUSED_S = 600.0  # uploads that no session has used are removed after this time
_IDLE_S = 6 * 3600.0  # so are those of sessions that have used none for this time, as programs may not end theirs
_ABORTED_S = 60.0  # so are partial uploads that have not grown for this time
_FREE_MB = 200.0  # of the disk, never used for uploads
_PLAYED_S = 120.0  # of a voice, to check it by ear; 4 MB
_POSTER_SIDE = 800  # longest side of a poster, px


@dataclass(frozen=True)
class UploadLimits:
    """Limits of uploads."""

    file_mb: float
    """Largest file, MB."""
    session_mb: float
    """Largest size of the files of one session, MB."""
    total_mb: float
    """Largest size of all files of the server, MB."""
    seconds: float
    """Longest voice or video, seconds."""
    pixels: int
    """Largest width × height."""

    @property
    def of_options(self) -> dict[str, float]:
        """The upper limits of options, by name."""
        return {"max_seconds": self.seconds, "max_megapixels": self.pixels / 1e6}


@dataclass(frozen=True)
class SourceInfo:
    """Kind, description and first frame of an uploaded picture or video."""

    is_still: bool
    summary: str
    poster: Path


@dataclass(frozen=True)
class VoiceInfo:
    """Description of an uploaded voice, and a WAV file of what is heard."""

    summary: str
    sound: Path


@dataclass(frozen=True)
class NumberedFaces:
    """The faces of an uploaded picture or video, in order of their numbers."""

    places: tuple[str | None, ...]
    """left, middle, right, or None between them."""
    picture: Path
    """The picture, or a frame of the video, with the numbers drawn in."""


class Uploads:
    """The private folder of one server (mode 0700), with reference counts: each file has a set of owners.

    Media are opened in child processes only. The folder of a server that was killed is removed by the next one.
    """

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self._folder = TemporaryFolder("lpt-ui-")
        self.root = self._folder.path
        self._inspections = Inspections()
        self.served = self.root / "served"
        """Gradio's folder: uploads, and files that the page may download."""
        self.jobs = self.root / "jobs"
        for folder in (self.served, self.jobs):
            folder.mkdir(mode=0o700)
        self._owners: dict[Path, set[str]] = {}
        self._lock = threading.Lock()
        self._last_use: dict[str, float] = {}
        """Owner → when it last used a file."""
        self._reserved = 0
        """Bytes of uploads that are arriving."""
        self._inspected: set[Path] = set()
        """Pictures and videos that can be opened."""
        self._inspection_locks: dict[Path, threading.Lock] = {}
        self._closing = threading.Event()
        threading.Thread(target=self._sweep_regularly, name="lpt-uploads", daemon=True).start()
        atexit.register(self.close)

    def inspect_source(self, path: Path, owner: str, name: str = "the file") -> SourceInfo:
        """Check a picture or video by its content and write its poster; `name` is used in messages.

        Raises:
            MediaError: the file cannot be read or exceeds a limit.
        """
        self.admit(path, owner)
        poster = self.new_served_path("poster.jpg", owner)
        with self._inspection_lock(path), self._alias(path, name) as alias:
            seen = self._inspections.footage(
                alias,
                owner,
                max_pixels=self.limits.pixels,
                max_seconds=self.limits.seconds,
                poster=poster,
                side=_POSTER_SIDE,
            )
            self._inspected.add(path.resolve())
        size, fps = f"{seen['width']}×{seen['height']} px", seen["fps"]
        if fps is None:
            return SourceInfo(True, f"picture, {size}", poster)
        return SourceInfo(False, f"video, {size}, {seen['frames'] / fps:.1f} s at {fps:.3g} fps", poster)

    def number_faces(self, path: Path, owner: str, name: str) -> NumberedFaces:
        """Find the faces of a picture, or of the first FACES_S of a video, that has been inspected.

        Raises TalkerError: there is no face, or as `inspect_source` does.
        """
        picture = self.new_served_path("faces.jpg", owner)
        with self._alias(path, name) as alias:
            found = self._inspections.faces(
                alias,
                owner,
                max_pixels=self.limits.pixels,
                max_seconds=self.limits.seconds,
                first_seconds=FACES_S,
                picture=picture,
            )
        return NumberedFaces(tuple(face["place"] for face in found), picture)

    def require_inspected(self, path: Path, owner: str, name: str) -> None:
        """Check a picture or video unless that was done, or is being done. Raises as `inspect_source` does."""
        with self._inspection_lock(path):
            done = path.resolve() in self._inspected
        if not done:
            self.inspect_source(path, owner, name)

    def inspect_voice(self, path: Path, owner: str, name: str = "the voice") -> VoiceInfo:
        """Check a voice by its content and write what can be played. Raises as `inspect_source` does."""
        self.admit(path, owner)
        sound, limit = self.new_served_path("heard.wav", owner), self.limits.seconds
        with self._alias(path, name) as alias:
            seconds = self._inspections.voice(alias, owner, max_seconds=limit, sound=sound, sound_seconds=_PLAYED_S)
        start = "" if seconds <= _PLAYED_S else f", of which the first {_PLAYED_S:g} s can be played"
        return VoiceInfo(f"voice, {seconds:.1f} s{start}", sound)

    def inspect_template(self, path: Path, owner: str, name: str = "the motion") -> str:
        """Check a motion template; return a description. Raises as `inspect_source` does."""
        self.admit(path, owner)
        with self._alias(path, f"{name}{path.suffix.lower()}") as alias:
            return self._inspections.template(alias, owner, max_seconds=self.limits.seconds)

    def admit(self, path: Path, owner: str) -> None:
        """Retain an upload; raise MediaError, and remove it, if it is too large or the session has too many."""
        self.retain(path, owner)
        try:
            self.check_size(path)
            with self._lock:
                sizes = [_size(other) for other, owners in self._owners.items() if owner in owners]
            if sum(sizes) > self.limits.session_mb * MB:
                raise MediaError(
                    f"the files of this page have {sum(sizes) / MB:,.0f} MB, the limit is {self.limits.session_mb:g} "
                    "MB: remove some, or reload the page."
                )
        except MediaError:
            self.discard(path, owner)
            raise

    def discard(self, path: Path, owner: str) -> None:
        """Remove an owner from a file, and the file if it has no other."""
        with self._lock:
            owners = self._owners.get(path.resolve(), set())
            owners.discard(owner)
            if not owners:
                self._forget(path.resolve())

    def reserve(self, size: int) -> None:
        """Reserve room for an upload of at most `size` bytes while it arrives. Raises MediaError if there is none."""
        with self._lock:
            self.require_space(size)
            self._reserved += size

    def unreserve(self, size: int) -> None:
        """End a reservation."""
        with self._lock:
            self._reserved -= size

    def require_space(self, needed: int = 0) -> None:
        """Raise MediaError if `needed` more bytes exceed the server's quota or the disk."""
        needed += self._reserved
        used = sum(map(_size, _files(self.root)))
        if used + needed > self.limits.total_mb * MB:
            raise MediaError("the server has no room for more uploads at the moment: try again in a while.")
        if shutil.disk_usage(self.root).free < needed + _FREE_MB * MB:
            raise MediaError("the disk of the server is full: try again later, or tell its operator.")

    def check_size(self, path: Path) -> None:
        """Raise MediaError for a file that is too large or missing."""
        try:
            size = path.stat().st_size
        except OSError as error:
            raise MediaError("a file is not here any more: choose it again.") from error
        if size > self.limits.file_mb * MB:
            raise MediaError(
                f"the file has {size / MB:,.0f} MB, the limit is {self.limits.file_mb:g} MB: send a smaller one."
            )

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
            self._last_use[owner] = time.monotonic()
            self._owners.setdefault(path.resolve(), set()).add(owner)

    def retain_all(self, owner: str) -> None:
        """Add an owner to all served files, such as the examples' pictures."""
        for path in _files(self.served):
            self.retain(path, owner)

    def release(self, owner: str) -> None:
        """Remove an owner from all files, and the files that have no owner left; end its inspection."""
        self._inspections.stop(owner)
        with self._lock:
            self._last_use.pop(owner, None)
            for owners in self._owners.values():
                owners.discard(owner)
        self._remove_unowned()

    def _remove_unowned(self) -> None:
        """Remove files without owners. New ones are kept for a while: their owner may not have been added yet."""
        with self._lock:
            for path in [path for path, owners in self._owners.items() if not owners]:
                if _age(path) >= _GRACE_S:
                    self._forget(path)

    def _forget(self, path: Path) -> None:
        """Remove a file and what is known of it, with the lock held."""
        self._owners.pop(path, None)
        self._inspected.discard(path)
        self._inspection_locks.pop(path, None)
        _remove(path)

    def sweep(self) -> None:
        """Remove files without owners, of idle sessions, and that no session has used, and partial uploads."""
        since = time.monotonic() - _IDLE_S
        with self._lock:
            idle = [owner for owner, last in self._last_use.items() if last < since and owner != SERVER]
        for owner in idle:
            self.release(owner)
        self._remove_unowned()
        with self._lock:
            for path in _files(self.served):
                limit = _ABORTED_S if path.parent == self.served else _UNUSED_S
                if path.resolve() not in self._owners and _age(path) > limit:
                    _remove(path)

    def _sweep_regularly(self) -> None:
        while not self._closing.wait(_SWEEP_S):
            self.sweep()

    def close(self) -> None:
        """Remove all files; may be called twice."""
        self._closing.set()
        self._inspections.close()
        atexit.unregister(self.close)
        self._folder.close()

    def _inspection_lock(self, path: Path) -> threading.Lock:
        with self._lock:
            return self._inspection_locks.setdefault(path.resolve(), threading.Lock())

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


def mouth_names(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return the files of `mouth_from` with their names in a job's folder and in messages.

    Raises OptionError for more than `MAX_MOUTHS`.
    """
    if len(paths) > MAX_MOUTHS:
        raise OptionError(f"this page takes the mouth from at most {MAX_MOUTHS} files: {len(paths)} are given.")
    return [(f"mouth example {number}", path) for number, path in enumerate(paths, 1)]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its folders, of which others may be removed meanwhile."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _size(path: Path) -> int:
    """Return the size of a file in bytes; 0 for a folder, a link and a file that is gone."""
    try:
        state = path.lstat()
    except OSError:
        return 0
    return state.st_size if stat.S_ISREG(state.st_mode) else 0


def _age(path: Path) -> float:
    """Return the seconds since a file was changed; infinite for one that is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return inf


def _remove(path: Path) -> None:
    """Remove a file, and its folder if no other file is in it: equal uploads of other names share a folder."""
    with suppress(OSError):
        path.unlink()
    with suppress(OSError):
        path.parent.rmdir()
