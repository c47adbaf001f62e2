"""`torch.compile` for the fast twins of W and G: where it runs, and what is said where it does not.

It fuses the element-wise passes between the convolutions, which on a graphics processor are half of the time. On a
processor kernels of ours do that (`fast/modulation.py`), and nothing has to be compiled first. What is compiled are the
regions that a network names, each kind once: G's blocks, which are alike, and W whole. It is kept in the cache folder,
so that a second run does not compile anew.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from ...errors import OptionError
from ...system.cache import cache_folder

log = logging.getLogger(__name__)

_GRAPHS = 64
_failed = threading.Event()  # once and for all networks: what one lacks, all lack


def will_compile(choice: str, device: torch.device) -> tuple[bool, str]:
    """Whether the networks are compiled on `device`, and why: `choice` is one of `devices.COMPILE`.

    Raises:
        OptionError: `on` where this machine lacks what compiling needs.
    """
    lack = _lack(device)
    if choice == "on" and lack:
        raise OptionError(f"--compile on cannot run here: {lack}; leave it out.")
    if choice != "auto":
        return choice == "on", f"--compile {choice}"
    return (False, lack) if lack else (True, "the networks are compiled, once")


class HasRegions(Protocol):
    """A network that names what is worth compiling."""

    def regions(self) -> list[nn.Module]:
        """Parts of it, in any order."""
        ...


def compile_regions(net: HasRegions) -> None:
    """Have the regions of `net` compiled, for the shapes they meet. If that fails it is said, and they run as is."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    for region in net.regions():
        region.forward = _Compiled(region.forward)


class _Compiled:
    def __init__(self, forward: Callable[..., Any]) -> None:
        self.forward = forward
        # Regions of one kind share a limit: each of their shapes, for each size of batch, is a graph.
        compile: Callable[..., Callable[..., Any]] = torch.compile  # its stubs do not know `recompile_limit`
        if "recompile_limit" in inspect.signature(compile).parameters:
            self.fast = compile(forward, dynamic=False, recompile_limit=_GRAPHS)
        else:  # older versions of torch have one limit for all that is compiled
            from torch._dynamo import config

            config.cache_size_limit = max(config.cache_size_limit, _GRAPHS)
            self.fast = compile(forward, dynamic=False)

    def __call__(self, *args: Any, **named: Any) -> Any:
        if not _failed.is_set():
            try:
                return self.fast(*args, **named)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a compiler, a linker or a driver of another version says
                log.warning("torch.compile failed (%s): the networks run as they are.", _first_line(error))
                _failed.set()
        return self.forward(*args, **named)


def _lack(device: torch.device) -> str:
    """What compiling for `device` needs and this machine has not; empty where nothing is missing."""
    if device.type == "mps":
        return "compiling is not tried on Apple's GPUs"
    if device.type == "cpu":
        return "on a processor, kernels of ours do what it would"
    import importlib.util

    return "" if importlib.util.find_spec("triton") else "Triton is not installed"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
