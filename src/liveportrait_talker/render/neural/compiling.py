"""`torch.compile` for the fast twins of W and G: where it pays, and what is said where it cannot run.

It fuses the element-wise passes between the convolutions. Where convolutions are quick (a GPU, a processor with AMX)
those passes are most of the time; elsewhere they are not, and compiling has not paid in a measurement
(docs/performance.md). What is compiled is kept in the cache folder, so that a second run does not compile anew.
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import Any

import torch
from torch import nn

from ...cache import cache_folder
from ...devices import has_amx
from ...errors import OptionError

log = logging.getLogger(__name__)

_COMPILERS = ("g++", "clang++")


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
    if lack:
        return False, lack
    if device.type == "cpu" and not has_amx():
        return False, "this processor's convolutions leave compiling nothing to win"
    return True, "the networks are compiled, once"


def compiled(net: nn.Module) -> nn.Module:
    """`net` compiled for the shapes it is first given. Where the compiler fails, it is said and `net` runs as is."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    return _Compiled(net)


class _Compiled(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self._fast: Any = torch.compile(net, dynamic=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._fast is not None:
            try:
                return self._fast(*args, **kwargs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a compiler, a linker or a driver of another version says
                log.warning("torch.compile failed (%s): the networks run as they are.", _first_line(error))
                self._fast = None
        return self.net(*args, **kwargs)


def _lack(device: torch.device) -> str:
    """What compiling for `device` needs and this machine has not; empty where nothing is missing."""
    if device.type == "mps":
        return "compiling is not tried on Apple's GPUs"
    if device.type == "cuda":
        import importlib.util

        return "" if importlib.util.find_spec("triton") else "Triton is not installed"
    named = os.environ.get("CXX")
    if any(shutil.which(name) for name in ((named,) if named else _COMPILERS)):
        return ""
    return f"there is no C++ compiler ({named or ', '.join(_COMPILERS)})"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
