"""How inner loops are compiled: by numba, once, and kept between runs.

`kernel` is for a function that works on whole arrays, `inlined` for one that kernels call. Kernels check no bounds:
they are written so that every index is clamped, and tests run them at the edges. Numba looks only at a kernel's own
file to see whether it has changed: after a change to an `inlined` function of another, delete all `__pycache__`.
"""

from __future__ import annotations

import os
from pathlib import Path

from .cache import cache_folder

# numba keeps its results beside the source, and fails at import where it can write neither there nor at home.
if "NUMBA_CACHE_DIR" not in os.environ and not os.access(Path(__file__).parent, os.W_OK):
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder() / "numba")

import numba

kernel = numba.njit(nogil=True, cache=True, fastmath=True)
inlined = numba.njit(inline="always", cache=True)
