"""Inter-process file locks."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import WeightsError

_POLL_SECONDS = 0.1

if sys.platform == "win32":
    import msvcrt

    def try_lock(file: IO[bytes]) -> None:
        """Lock an open file until it is closed. Raises OSError where another process holds it."""
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def try_lock(file: IO[bytes]) -> None:
        """Lock an open file until it is closed. Raises OSError where another process holds it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def file_lock(path: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Hold an exclusive lock on `path` (which need not exist), waiting while another process or thread holds it.

    The system releases it when the process dies. The lock file `.NAME.lock` is never deleted: that would let two
    processes hold the lock at once. `sleep`, called between attempts, may raise to give up.

    Raises:
        WeightsError: the folder cannot be written, or its file system has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("ab")
    except OSError as error:
        raise WeightsError(
            f"cannot write in {path.parent} ({error.strerror}): set LPT_MODELS to a writable folder."
        ) from error
    with lock:
        while True:
            try:
                try_lock(lock)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                    raise WeightsError(
                        f"the file system of {path.parent} does not support locks: set LPT_MODELS to a local folder."
                    ) from error
            sleep(_POLL_SECONDS)
        yield
