"""A thread pool for Numba kernels, with as many threads in use as torch has."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="kernels")


if hasattr(os, "register_at_fork"):  # threads do not exist in a forked child
    os.register_at_fork(after_in_child=_pool.cache_clear)


def run_in_threads(work: Callable[[int, int], Any], count: int) -> None:
    """Call `work(first, last)` on parts of the range 0 … `count`, one for each thread."""
    parts = max(1, min(torch.get_num_threads(), count))
    bounds = [count * k // parts for k in range(parts + 1)]
    for _ in _pool().map(work, bounds[:-1], bounds[1:]):
        pass
