"""What the worker of a test does instead of the real jobs. Spawned processes import it by name."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

from liveportrait_talker.errors import OptionError
from liveportrait_talker.ui.worker import OnProgress, Order


def fake_work(order: Order, tell: OnProgress) -> dict[str, Any]:
    """Writes what it was asked for into the result, at once."""
    if order.kind == "warm":
        return {}
    options = order.details.get("options") or (order.details.get("edit"), order.details.get("setup"))
    (order.folder / "result.mp4").write_bytes(repr(options).encode())
    tell("drawing", 1, 1)
    given = [value for value in order.details.values() if dataclasses.is_dataclass(value)]
    plain = {name: value for name, value in order.details.items() if isinstance(value, (str, int, bool))}
    return {
        "seed": getattr(options, "seed", 0),
        "downloaded": ["nothing"],
        "options": {name: value for one in given for name, value in dataclasses.asdict(one).items()},
        "as_text": repr(options),
        "files": [str(path) for path in order.folder.iterdir()],
        "details": plain,
        "made": "result.mp4",
    }


def long_work(order: Order, tell: OnProgress) -> dict[str, Any]:
    """A job of a minute, with a file that grows; it tells how far it is only where the seed is even."""
    if order.kind == "warm":
        return {}
    with (order.folder / ".result.part.mp4").open("wb") as file:
        for k in range(600):
            if order.details["options"].seed % 2 == 0:
                tell("drawing", k, 600)
            file.write(b"x" * 1000)
            time.sleep(0.1)
    return {}


def broken_work(order: Order, tell: OnProgress) -> dict[str, Any]:
    """Fails in the way that the seed says."""
    if order.kind == "warm":
        return {}
    seed = order.details["options"].seed
    if seed == 0:
        raise OptionError("this is a mistake that you can mend.")
    if seed == 1:
        raise ValueError("a defect of ours")
    os._exit(9)
    return {}
