"""Numba decorators whose compiled code is cached between runs.

`kernel` is for functions on whole arrays, `inlined` for functions that kernels call. Kernels do not check bounds: they
clamp every index. Numba invalidates its cache by a kernel's own file only: after changing an `inlined` function in
another file, delete all `__pycache__`.
"""

from __future__ import annotations

import os
from pathlib import Path

from .cache import cache_folder

# Numba caches beside the source, and fails at import where neither that folder nor the home folder is writable.
if "NUMBA_CACHE_DIR" not in os.environ and not os.access(Path(__file__).parent, os.W_OK):
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder() / "numba")

import numba

kernel = numba.njit(nogil=True, cache=True, fastmath=True)
inlined = numba.njit(inline="always", cache=True)
