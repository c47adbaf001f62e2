"""The on-disk cache: folders that nobody but this user can write.

Part of what is cached is machine code. In a folder of others, or one that others can write, it could be theirs.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import takewhile
from pathlib import Path

log = logging.getLogger(__name__)


def cache_root() -> Path:
    """Return $LPT_CACHE, else our folder in the user's cache folder, which may start with `~`."""
    if configured := os.environ.get("LPT_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "liveportrait-talker"


def cache_folder(name: str) -> Path:
    """Return the folder called `name` in the cache, created where missing.

    The cache is $LPT_CACHE, else in the user's cache folder, or in the temporary folder where that cannot be used.
    Warns once where the user's cache folder is there, and others may have filled it.

    Raises:
        OSError: there is no place for it; `strerror` says why not in the first of them.
    """
    places = [cache_root() / name]
    if not os.environ.get("LPT_CACHE"):
        user = "" if sys.platform == "win32" else f"-{os.geteuid()}"
        places.append(Path(tempfile.gettempdir()) / f"liveportrait-talker{user}-{name}")
    refusals: list[OSError] = []
    for place in places:
        try:
            folder = private_folder(place)
        except OSError as error:
            refusals.append(error)
            continue
        for refusal in refusals:
            if refusal.errno == errno.EPERM:
                warn_once(f"the cache is in {folder}, not in {refusal.filename}: {refusal.strerror}.")
        return folder
    raise refusals[0]


def is_first_time(what: str) -> bool:
    """Return whether this is asked for the first time on this machine; later calls, in any process, return False.

    Where nothing can be kept it is always the first time.
    """
    try:
        (cache_folder("said") / what).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def private_folder(folder: Path) -> Path:
    """Return `folder`, created where missing, after checking that this user can write it and no other user can.

    Raises:
        OSError: it is not so; `strerror` says why. It is EPERM where others may have filled the folder.
    """
    try:
        folder = folder.expanduser().absolute()
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "the home folder is not known", str(folder)) from error
    missing = list(takewhile(lambda place: not os.path.lexists(place), (folder, *folder.parents)))
    for place in reversed(missing):
        place.mkdir(0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is a link or a file, not a folder", str(folder))
    if sys.platform != "win32":  # whose temporary folder is the user's own
        if state.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
        above = (place for place in folder.resolve().parents if _others_can_rename_in(place))
        shared = folder if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else next(above, None)
        if shared is not None:
            raise PermissionError(errno.EPERM, f"other users can write it: chmod go-w {shared}", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "it is not writable", str(folder))
    return folder


def _others_can_rename_in(folder: Path) -> bool:
    """Return whether all users can write `folder`, and other users can put another folder in the place of one in it."""
    state = folder.stat()
    if not state.st_mode & stat.S_IWOTH:
        return False
    return not state.st_mode & stat.S_ISVTX or state.st_uid not in (0, os.geteuid())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a partial file of this process, which takes the place of `path` at the end, or is removed on an error."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@cache
def warn_once(text: str) -> None:
    """Log a warning, if it is the first of this text."""
    log.warning(text)
