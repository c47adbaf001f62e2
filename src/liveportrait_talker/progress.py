"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all); 0 steps in all where the number is not known."""
OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all) of one stage."""


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def steps_of(stage: str, on_progress: OnProgress) -> OnStep:
    """Return a callback that reports the steps of `stage` to `on_progress`."""
    return lambda done, total: on_progress(stage, done, total)
