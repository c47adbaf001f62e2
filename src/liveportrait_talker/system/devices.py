"""Where the networks run, and in which number format. torch is loaded when asked."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

from ..errors import OptionError, WeightsError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
COMPILE = ("auto", "on", "off")
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # as malloc.h numbers them


def require_torch(what: str) -> None:
    """Raise WeightsError, with the command that mends it, where PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise WeightsError(f"{what} needs PyTorch: pip install 'liveportrait-talker[neural]' brings it.") from error


def torch_device(name: str = "auto") -> torch.device:
    """The device of this name; `auto` takes CUDA, then Apple's MPS, then the processor.

    Raises:
        OptionError: this machine or this build of PyTorch does not have it.
        WeightsError: torch is not installed.
    """
    require_torch(f"device {name}")
    import torch

    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, available in here.items() if available)
    kind = name.partition(":")[0]
    if kind not in here:
        raise OptionError(f"device {name} is not known: choose one of {', '.join(DEVICES)}.")
    if not here[kind]:
        raise OptionError(
            f"device {name} is not here: PyTorch {torch.__version__} finds "
            f"{', '.join(k for k, available in here.items() if available)} on this machine; give --device auto."
        )
    return torch.device(name)


def torch_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The format of the heavy networks' numbers.

    `auto` is fp16 on CUDA, bf16 on a processor that calculates in it, fp32 elsewhere.

    Raises:
        OptionError: the name is not known, or the processor would have to imitate the format, a hundred times slower.
    """
    import torch

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "bf16" if device.type == "cpu" and has_bf16() else "fp32"
    if precision not in dtypes:
        raise OptionError(f"precision {precision} is not known: choose one of {', '.join(PRECISIONS)}.")
    if device.type == "cpu" and (precision == "fp16" or (precision == "bf16" and not has_bf16())):
        raise OptionError(
            f"precision {precision} is not for this processor, which has no such arithmetic: leave --precision out."
        )
    return dtypes[precision]


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given: for whoever times it."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def has_bf16() -> bool:
    """Whether this processor calculates in bfloat16 (AVX-512 BF16 or AMX; others would imitate it)."""
    return _processor_has("_is_avx512_bf16_supported") or has_amx()


def has_amx() -> bool:
    """Whether this processor has AMX tiles, which multiply matrices of bfloat16 several times as fast."""
    return _processor_has("_is_amx_tile_supported")


def _processor_has(check: str) -> bool:
    import torch

    # Private in torch 2.13; nothing public tells.
    return hasattr(torch.cpu, check) and bool(getattr(torch.cpu, check)())


def keep_freed_memory() -> None:
    """Have the C library keep what large tensors leave for the next ones, where it can be told to (glibc on Linux).

    By itself it gives each of them new pages of the system, which must be filled with zeros first: a tenth of a frame.
    What is free now is given back first. It holds for the whole process, and for good.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    # Older ones refuse more than half of a heap, 32 MiB. The second call alone would do harm: it ends their own tuning.
    if not hasattr(library, "mallopt"):
        return
    library.malloc_trim(0)
    if any(library.mallopt(_MMAP_THRESHOLD, size) for size in (2**30, 2**25)):
        library.mallopt(_TRIM_THRESHOLD, 2**30)
