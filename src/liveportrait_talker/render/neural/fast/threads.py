"""Threads for our own kernels: as many as torch's, waiting idle."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="kernels")


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_threads.cache_clear)


def in_pieces(work: Callable[[int, int], Any], count: int) -> None:
    """`work` on the numbers from 0 to `count`, each thread its share."""
    parts = max(1, min(torch.get_num_threads(), count))
    bounds = [count * k // parts for k in range(parts + 1)]
    for _ in _threads().map(work, bounds[:-1], bounds[1:]):
        pass
