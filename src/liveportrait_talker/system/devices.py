"""Devices and floating-point formats of the networks. PyTorch is imported on first use."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError, WeightsError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
COMPILE = ("auto", "on", "off")
# Values of oneDNN's ONEDNN_MAX_CPU_ISA.
_ISAS_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
_ISAS_WITHOUT_AMX = (*_ISAS_WITHOUT_BF16, "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512")
_PRODUCTS, _ROWS, _SIDE = 5, 2048, 512  # measured matrix products (rows, side) × (side, side): 1 GFLOP each
_forked: list[bool] = []  # not empty in a forked process
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h


def require_torch(feature: str) -> None:
    """Raise WeightsError, with the install command, where PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise WeightsError(f"{feature} needs PyTorch: pip install 'liveportrait-talker[neural]'.") from error


def torch_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; `auto` chooses CUDA, then Apple's MPS, then the CPU.

    Raises:
        OptionError: this machine or this build of PyTorch does not have it.
        WeightsError: PyTorch is not installed.
    """
    require_torch(f"device {name}")
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, present in available.items() if present)
    kind = name.partition(":")[0]
    if kind not in available:
        raise OptionError(f"device {name} is not known: choose one of {', '.join(DEVICES)}.")
    if not available[kind]:
        raise OptionError(
            f"device {name} is not available: PyTorch {torch.__version__} finds "
            f"{', '.join(k for k, present in available.items() if present)} on this machine; use --device auto."
        )
    return torch.device(name)


def torch_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the floating-point format of the large networks.

    `auto` is fp16 on CUDA, bf16 on a CPU that multiplies bfloat16 matrices fastest, fp32 elsewhere.

    Raises:
        OptionError: the name is not known, or the CPU would emulate the format, about 100 times slower.
    """
    import torch

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "bf16" if device.type == "cpu" and prefers_bf16() else "fp32"
    if precision not in dtypes:
        raise OptionError(f"precision {precision} is not known: choose one of {', '.join(PRECISIONS)}.")
    if device.type == "cpu" and (precision == "fp16" or (precision == "bf16" and not has_bf16())):
        raise OptionError(
            f"precision {precision} is not supported by this CPU, which has no instructions for it: omit --precision."
        )
    return dtypes[precision]


def refuse_forked_process() -> None:
    """Raise OptionError in a process that was forked from one that has called this; to be called before networks run.

    PyTorch's threads are missing in it, and it would wait for them for ever.
    """
    if _forked:
        raise OptionError(
            "this process was forked from one that has used the networks, which cannot run in it: start processes "
            "with multiprocessing.get_context('spawn')."
        )
    _watch_forks()


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _forked.append(True))


def synchronize(device: torch.device) -> None:
    """Block until queued device work has finished (for timing)."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def has_bf16() -> bool:
    """Return whether this CPU has bfloat16 instructions (AVX-512 BF16 or AMX), and oneDNN may use them."""
    return (_cpu_supports("_is_avx512_bf16_supported") and _onednn_limit() not in _ISAS_WITHOUT_BF16) or has_amx()


@cache
def prefers_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices faster than float32 ones; without AMX, it is measured.

    With AVX-512 BF16 alone, some CPUs do it at twice the speed, others at half of it.
    """
    if not has_bf16() or has_amx():
        return has_bf16()
    import torch

    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.inference_mode():
        for k in range(_PRODUCTS + 1):
            for dtype in seconds:
                a, b = torch.ones(_ROWS, _SIDE, dtype=dtype), torch.ones(_SIDE, _SIDE, dtype=dtype)
                start = time.process_time()  # of all threads: other processes hardly change it
                torch.mm(a, b)
                if k > 0:  # the first one compiles
                    seconds[dtype] = min(seconds[dtype], time.process_time() - start)
    return seconds[torch.bfloat16] < seconds[torch.float32]


def has_amx() -> bool:
    """Return whether this CPU has AMX tiles, which multiply bfloat16 matrices fastest, and oneDNN may use them."""
    return _cpu_supports("_is_amx_tile_supported") and _onednn_limit() not in _ISAS_WITHOUT_AMX


def estimate_frame_seconds() -> float:
    """Return about how long the neural renderer takes for a frame here, without importing torch.

    From measurements (docs/performance.md): 3 ms on an NVIDIA GPU, 1.2 s × cores with AMX, else 6.2 s × cores.
    """
    if shutil.which("nvidia-smi"):
        return 0.003
    try:
        has_tiles = " amx_tile" in Path("/proc/cpuinfo").read_text()
    except OSError:
        has_tiles = False
    return (1.2 if has_tiles else 6.2) / min(os.cpu_count() or 1, 8)


def _onednn_limit() -> str:
    """Return the newest instructions that the user lets oneDNN use, empty for all."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()


def _cpu_supports(check: str) -> bool:
    import torch

    # Private functions of torch 2.13; there is no public query.
    return hasattr(torch.cpu, check) and bool(getattr(torch.cpu, check)())


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed large tensors; no effect elsewhere.

    By default glibc maps new pages for every large allocation, which the kernel zeroes first: a tenth of the time of a
    frame. Memory that is free now is returned to the system first. The setting is permanent and process-wide.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    library.malloc_trim(0)
    # Older versions accept at most half a heap, 32 MiB. M_TRIM_THRESHOLD alone would only end glibc's dynamic tuning.
    if any(library.mallopt(_MMAP_THRESHOLD, size) for size in (2**30, 2**25)):
        library.mallopt(_TRIM_THRESHOLD, 2**30)
