"""The on-disk cache: folders that nobody but this user can write.

Part of what is cached is machine code. In a folder of others, or one that others can write, it could be theirs.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from itertools import takewhile
from pathlib import Path


def cache_root() -> Path:
    """Return $LPT_CACHE, else our folder in the user's cache folder, which may start with `~`."""
    if configured := os.environ.get("LPT_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "liveportrait-talker"


def cache_folder(name: str) -> Path:
    """Return the folder called `name` in the cache, created where missing.

    The cache is $LPT_CACHE, else in the user's cache folder, or in the temporary folder where that cannot be used.

    Raises:
        OSError: there is no place for it; `strerror` says why not in the first of them.
    """
    places = [cache_root() / name]
    if not os.environ.get("LPT_CACHE"):
        user = "" if sys.platform == "win32" else f"-{os.geteuid()}"
        places.append(Path(tempfile.gettempdir()) / f"liveportrait-talker{user}-{name}")
    refusals = []
    for place in places:
        try:
            return private_folder(place)
        except OSError as error:
            refusals.append(error)
    raise refusals[0]


def private_folder(folder: Path) -> Path:
    """Return `folder`, created where missing, after checking that this user can write it and no other user can.

    Raises:
        OSError: it is not so; `strerror` says why.
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
        if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or any(map(_all_can_rename_in, folder.resolve().parents)):
            raise PermissionError(errno.EPERM, "other users can write it", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "it is not writable", str(folder))
    return folder


def _all_can_rename_in(folder: Path) -> bool:
    """Return whether every user can put another folder in the place of one in `folder`."""
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX
