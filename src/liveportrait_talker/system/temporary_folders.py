"""Private temporary folders that are removed even if the process that made them was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .locks import try_lock

_LOCK = ".in-use"
_UNLOCKED_S = 60.0  # age of a folder without a lock: a younger one may be just being made


class TemporaryFolder:
    """A new folder of mode 0700, as a context manager that removes it.

    It is locked as long as this process lives. Making one removes the folders of the same prefix whose processes are
    dead, so that a kill leaves files only until the next start.

    Args:
        prefix: start of its name, which names its purpose.
        parent: where it is made; by default the system's temporary folder.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        _remove_abandoned(parent, prefix)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._lock = (self.path / _LOCK).open("xb", buffering=0)
        try_lock(self._lock)
        self._lock.write(b"locked\n")  # an empty file is not locked yet

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder; can be called twice."""
        self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Return whether a folder is ours and its process is dead. Raises OSError where another process holds it."""
    status = folder.lstat()
    if folder.is_symlink() or not folder.is_dir() or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        return False
    lock = folder / _LOCK
    size = lock.stat().st_size if lock.exists() else 0
    if not size and time.time() - status.st_mtime <= _UNLOCKED_S:
        return False
    if lock.exists():
        with lock.open("r+b") as file:
            try_lock(file)
    return True
