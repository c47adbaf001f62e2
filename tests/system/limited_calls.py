"""Functions that a limited child process calls by name."""

from __future__ import annotations

import os

import numpy as np

from liveportrait_talker.errors import OptionError


def measure(path: str, factor: int) -> int:
    """Return the length of the path, times a factor."""
    return factor * len(path)


def allocate(path: str) -> float:
    """Allocate and use 3 GB."""
    return float(np.ones(3 * 10**9, np.uint8)[::4096].sum())


def spin(path: str) -> None:
    """Compute for ever."""
    while True:
        pass


def crash(path: str) -> None:
    """End the process as a faulty decoder would."""
    os.abort()


def refuse(path: str) -> None:
    """Report a mistake of the user."""
    raise OptionError(f"{path} is wrong: do it right.")


def fail(path: str) -> None:
    """Have a defect."""
    raise ZeroDivisionError("a defect")


def talk(path: str) -> str:
    """Print to standard output, as some libraries do."""
    os.write(1, b'["result", "not this"]\n')
    return "this"


def spin_with(path: str, *arguments: object) -> None:
    """Compute for ever, whatever the arguments."""
    spin(path)


def measure_all(path: str, *arguments: object) -> int:
    """Return the number of the arguments."""
    return len(arguments)
