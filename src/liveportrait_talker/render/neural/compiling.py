"""`torch.compile` for the fast versions of W and G.

It fuses the element-wise passes between the convolutions, which take half of the time on a GPU. On CPUs the Numba
kernels of `fast/modulation.py` do that. The regions of a network are compiled separately: the blocks of G, and W as a
whole. The results are kept in the cache folder for later runs.
"""

from __future__ import annotations

import atexit
import inspect
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ...errors import OptionError
from ...system.cache import cache_folder
from ...system.temporary_folders import TemporaryFolder

log = logging.getLogger(__name__)

_MAX_GRAPHS = 64
_failed = threading.Event()  # shared: if one network cannot be compiled, none can


def decide_compilation(choice: str, device: torch.device) -> tuple[bool, str]:
    """Return whether to compile the networks for `device`, and the reason.

    Args:
        choice: one of `devices.COMPILE`.
        device: where the networks run.

    Raises:
        OptionError: `choice` is "on", but compiling is not possible here.
    """
    obstacle = _find_obstacle(device)
    if choice == "on" and obstacle:
        raise OptionError(f"--compile on is not possible here: {obstacle}; leave it out.")
    if choice != "auto":
        return choice == "on", f"--compile {choice}"
    return (False, obstacle) if obstacle else (True, "the networks are compiled once")


class HasRegions(Protocol):
    """A network that lists its modules to compile."""

    def regions(self) -> list[nn.Module]:
        """Return the modules to compile, in any order."""
        ...


def compile_regions(net: HasRegions) -> None:
    """Compile the regions of `net` on first use of each input shape; if that fails, warn and run them uncompiled."""
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(_code_folder())
    for region in net.regions():
        region.forward = _Compiled(region.forward)


def _code_folder() -> Path:
    """Return a folder for machine code, of this process alone where there is no cache.

    torch's own is in the temporary folder under a name that everybody can guess.
    """
    try:
        return cache_folder("compiled")
    except OSError as error:
        log.warning("the compiled networks are not kept in %s (%s).", error.filename, error.strerror)
    folder = TemporaryFolder("lpt-compiled-")
    atexit.register(folder.close)
    return folder.path


class _Compiled:
    def __init__(self, forward: Callable[..., Any]) -> None:
        self.forward = forward
        # Regions of one class share the limit: each input shape, for each batch size, is a graph.
        compile: Callable[..., Callable[..., Any]] = torch.compile  # its stubs lack `recompile_limit`
        if "recompile_limit" in inspect.signature(compile).parameters:
            self.fast = compile(forward, dynamic=False, recompile_limit=_MAX_GRAPHS)
        else:  # older versions of torch have one global limit
            from torch._dynamo import config

            config.cache_size_limit = max(config.cache_size_limit, _MAX_GRAPHS)
            self.fast = compile(forward, dynamic=False)

    def __call__(self, *args: Any, **named: Any) -> Any:
        if not _failed.is_set():
            try:
                return self.fast(*args, **named)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # from a compiler, a linker or a driver
                log.warning("torch.compile failed (%s): the networks run uncompiled.", _first_line(error))
                _failed.set()
        return self.forward(*args, **named)


def _find_obstacle(device: torch.device) -> str:
    """Return why compiling for `device` is not possible or not useful; empty if it is."""
    if device.type == "mps":
        return "compiling is not supported on Apple's GPUs"
    if device.type == "cpu":
        return "on CPUs, Numba kernels take its place"
    import importlib.util

    return "" if importlib.util.find_spec("triton") else "Triton is not installed"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
