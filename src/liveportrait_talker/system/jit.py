"""Numba decorators whose compiled code is cached between runs.

`kernel` is for functions on whole arrays, `inlined` for functions that kernels call. Kernels do not check bounds: they
clamp every index. A kernel is compiled again after a change of any module of its folder, which thus holds all that it
calls, and in another version of the package.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from .. import __version__
from .cache import cache_folder, private_folder, replacing, warn_once

log = logging.getLogger(__name__)

inlined = numba.njit(inline="always")


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call, or load what an earlier run has compiled."""
    dispatcher = numba.njit(nogil=True, fastmath=True)(function)
    dispatcher._cache = _KernelCache(function)
    return dispatcher


class _KernelCache(NullCache):  # type: ignore[misc]  # Numba has no types
    """Compiled code of one kernel: a file for each signature, whose name depends on all that the code depends on.

    Numba's own cache ends the program where a file is damaged, the disk is full or no folder is writable, and loads
    damaged machine code. This one compiles anew.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._source = Path(function.__code__.co_filename)
        self._name = function.__qualname__

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled code for a signature, None where there is none, or what is there is damaged."""
        target_context.refresh()
        if (folder := _folder_for(self._source.parent)) is None:
            return None
        try:
            content = (folder / self._file_name(sig, target_context.codegen())).read_bytes()
            digest, code = content[:32], content[32:]
            if hashlib.sha256(code).digest() != digest:
                return None
            return CompileResult._rebuild(target_context, *pickle.loads(code))  # noqa: S301 (only we can write it)
        except Exception as error:  # unpickling may raise anything
            log.debug("the compiled code of %s is not used: %r", self._name, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled code for a signature. Warns where that is not possible."""
        if (folder := _folder_for(self._source.parent)) is None:
            return
        code = dumps(data._reduce())
        try:
            path = folder / self._file_name(sig, data.codegen)
            with replacing(path) as part:
                part.write_bytes(hashlib.sha256(code).digest() + code)
        except OSError as error:
            warn_once(f"compiled code cannot be kept in {folder} ({error.strerror}): it is compiled in every run.")

    def _file_name(self, sig: Any, codegen: Any) -> str:
        versions = __version__, numba.__version__, sys.implementation.cache_tag
        source = self._source.name, _digest_of(self._source.parent)
        key = repr((versions, codegen.magic_tuple(), source, self._name, sig))
        return f"{self._source.stem}.{self._name}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.kernel"


@cache
def _digest_of(folder: Path) -> str:
    """Return a digest of the modules in a folder. Raises OSError."""
    modules = [(path.name, path.read_bytes()) for path in sorted(folder.glob("*.py"))]
    return hashlib.sha256(repr(modules).encode()).hexdigest()


@cache
def _folder_for(package: Path) -> Path | None:
    """Return where the compiled code of a package's modules is kept: $NUMBA_CACHE_DIR, beside them, or in our cache."""
    try:
        if configured := numba.config.CACHE_DIR:
            return private_folder(Path(configured) / "liveportrait-talker")
        beside = package / "__pycache__"  # Python executes what is in it, too
        with contextlib.suppress(OSError):
            beside.mkdir(exist_ok=True)
        return beside if os.access(beside, os.W_OK | os.X_OK) else cache_folder("numba")
    except OSError as error:
        warn_once(f"compiled code is not kept in {error.filename} ({error.strerror}): it is compiled in every run.")
        return None
