"""Fake tasks for the worker; spawned processes import them by name."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from liveportrait_talker.errors import OptionError
from liveportrait_talker.ui.worker import OnProgress, Task


def fake_work(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Write the options into the result, at once."""
    if task.kind == "warm up":
        return {}
    options = task.arguments.get("options") or (task.arguments.get("edit"), task.arguments.get("setup"))
    if task.kind == "speakers":
        options = (task.arguments["voices"], options)
    (task.folder / "result.mp4").write_bytes(repr(options).encode())
    on_progress("drawing", 1, 1)
    given = [value for value in task.arguments.values() if dataclasses.is_dataclass(value)]
    plain = {name: value for name, value in task.arguments.items() if isinstance(value, (str, int, bool))}
    return {
        "seed": getattr(options, "seed", 0),
        "downloaded": ["nothing"],
        "options": {name: value for one in given for name, value in dataclasses.asdict(one).items()},
        "as_text": repr(options),
        "files": [str(path) for path in task.folder.iterdir()],
        "details": plain,
        "output": "result.mp4",
    }


def long_work(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Write to a file for a minute; report progress only for an even seed."""
    if task.kind == "warm up":
        return {}
    with (task.folder / ".result.part.mp4").open("wb") as file:
        for k in range(600):
            if task.arguments["options"].seed % 2 == 0:
                on_progress("drawing", k, 600)
            file.write(b"x" * 1000)
            time.sleep(0.1)
    return {}


def broken_work(task: Task, on_progress: OnProgress) -> dict[str, Any]:
    """Fail: with a TalkerError (seed 0), a ValueError (1) or the end of the process."""
    if task.kind == "warm up":
        return {}
    seed = task.arguments["options"].seed
    if seed == 0:
        raise OptionError("this is an error that you can correct.")
    if seed == 1:
        raise ValueError("a defect")
    os._exit(9)
    return {}
