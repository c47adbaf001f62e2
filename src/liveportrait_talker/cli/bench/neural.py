"""`bench --renderer neural`: speed of the fast networks relative to the reference ones and to the machine's limits.

Weights are random, as the speed does not depend on them; only PyTorch must be installed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...progress import OnProgress
from ...system.devices import keep_freed_memory, require_torch, synchronize, torch_device, torch_dtype
from .embedded import peak_memory_mb

GFLOP = {"W": 342.1, "G": 891.6, "F": 64.1, "M": 11.6}
"""Work per frame of each reference network (docs/method/liveportrait.md, Computational cost)."""
_NAMES = {
    "W": "warping_module",
    "G": "spade_generator",
    "F": "appearance_feature_extractor",
    "M": "motion_extractor",
}
_REPEATS = 3
_MAX_SECONDS = 5.0  # of repeats


@dataclass(frozen=True)
class NeuralTable:
    """Result of `bench_neural`: milliseconds per frame, GFLOP/s, GB/s and MB. Its text is a table."""

    device: str
    plain: str
    """Format of the reference networks."""
    fast: str
    """Format of the fast networks."""
    path: str
    """Whether the fast networks were compiled, and why; and whether they use Winograd convolutions."""
    batch_size: int
    """Frames per batch of the fast networks; the reference networks draw one, as the original does."""
    warm_up_s: float
    """Time of the fast networks' first batch, with compilation."""
    plain_ms: dict[str, float]
    """W, G, frame; and F and M, which run once per source frame."""
    fast_ms: dict[str, float]
    """W, G, frame."""
    ceiling_gflops: dict[str, float]
    """Speed of the generator's most frequent convolution alone, by format."""
    copy_gbps: float
    peak_mb: float

    @property
    def ratio(self) -> float:
        """Speed of the fast networks relative to the reference ones."""
        return self.plain_ms["frame"] / self.fast_ms["frame"]

    @property
    def share_of_ceiling(self) -> float:
        """Work of the reference networks over the fast networks' time, as a share of the ceiling."""
        speed = (GFLOP["W"] + GFLOP["G"]) / self.fast_ms["frame"] * 1e3
        return speed / self.ceiling_gflops[self.fast]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self) | {"ratio": self.ratio, "share_of_ceiling": self.share_of_ceiling}

    def __str__(self) -> str:
        rows = [f"neural renderer on {self.device}: reference networks in {self.plain}, fast path in {self.fast}"]
        rows.append(
            f"fast path: {self.path}; {self.batch_size} frame(s) per batch, the first after {self.warm_up_s:.1f} s"
        )
        rows.append(f"{'':8}{'GFLOP':>8}{'reference':>14}{'fast':>12}{'ratio':>8}")
        for name, work in (*GFLOP.items(), ("frame", GFLOP["W"] + GFLOP["G"])):
            plain, fast = self.plain_ms[name], self.fast_ms.get(name)
            quick = f"{_digits(fast):>9} ms{plain / fast:8.2f}" if fast else ""
            rows.append(f"{name:8}{work:8.0f}{_digits(plain):>11} ms{quick}")
        ceilings = ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in self.ceiling_gflops.items())
        rows.append(f"convolution ceiling: {ceilings}; copying {self.copy_gbps:.1f} GB/s")
        rows.append(
            f"{GFLOP['W'] + GFLOP['G']:.0f} GFLOP per frame at {100 * self.share_of_ceiling:.0f} % of the ceiling; "
            f"{1e3 / self.fast_ms['frame']:.2f} frames/s; peak memory {self.peak_mb:.0f} MB"
        )
        return "\n".join(rows)


def bench_neural(
    *,
    device: str = "auto",
    precision: str = "auto",
    compile: str = "auto",
    batch_size: int | None = None,
    on_progress: OnProgress,
) -> NeuralTable:
    """Time the reference networks and the fast W and G, as `generate` uses them.

    Raises:
        OptionError: the device or the format is not available.
        WeightsError: PyTorch is not installed.
    """
    require_torch("bench --renderer neural")
    import torch

    from ...pipelines.networks import build_network
    from ...render.neural.compiling import compile_regions, decide_compilation
    from ...render.neural.fast import ConvFactory, build_fast_network
    from ...render.neural.renderer import BATCH

    where = torch_device(device)
    dtype = torch_dtype(precision, where)
    compiles, reason = decide_compilation(compile, where)
    count = batch_size or BATCH[where.type]
    # On CUDA the reference is what LivePortrait itself runs: autocast to half precision.
    plain = torch.float16 if where.type == "cuda" else torch.float32
    steps = 9
    done = 0

    def timed(call: Callable[[], object]) -> float:
        nonlocal done
        seconds = _seconds(call, where)
        done += 1
        on_progress("timing", done, steps)
        return 1e3 * seconds

    torch.manual_seed(0)
    on_progress("timing", 0, steps)
    with torch.inference_mode():
        nets = {name: build_network(full) for name, full in _NAMES.items()}
        fast = {name: build_fast_network(nets[name], dtype, where) for name in ("W", "G")}
        if compiles:
            for network in fast.values():
                compile_regions(network)
        for net in nets.values():
            net.to(where)
        volume, face = torch.randn(1, 32, 16, 64, 64, device=where), torch.rand(1, 3, 256, 256, device=where)
        points = 0.4 * torch.rand(2, 1, 21, 3, device=where) - 0.2
        features = torch.randn(1, 256, 64, 64, device=where)
        pair = {"kp_source": points[0], "kp_driving": points[1]}
        with torch.autocast(where.type, plain, enabled=plain != torch.float32):
            plain_ms = {
                "W": timed(lambda: nets["W"](volume, **pair)),
                "G": timed(lambda: nets["G"](features)),
                "F": timed(lambda: nets["F"](face)),
                "M": timed(lambda: nets["M"](face)),
            }
        if where.type == "cpu":
            keep_freed_memory()  # as in `generate`
        several = {name: value.expand(count, -1, -1) for name, value in pair.items()}
        volumes, conditions = volume.expand(count, -1, -1, -1, -1), features.expand(count, -1, -1, -1)
        start = time.perf_counter()
        fast["W"](volumes, **several)
        fast["G"](conditions)
        synchronize(where)
        warm_up = time.perf_counter() - start
        fast_ms = {
            "W": timed(lambda: fast["W"](volumes, **several)) / count,
            "G": timed(lambda: fast["G"](conditions)) / count,
        }
        formats = dict.fromkeys([torch.float32, dtype])
        ceilings = {_name(kind): _convolution_gflops(kind, where, count) for kind in formats}
        done += 2
        on_progress("timing", done, steps)
        copy = _copy_gbps(where)
        on_progress("timing", steps, steps)
    for table in (plain_ms, fast_ms):
        table["frame"] = table["W"] + table["G"]
    peak = torch.cuda.max_memory_allocated() / 1e6 if where.type == "cuda" else peak_memory_mb()
    how = f"{'compiled' if compiles else 'not compiled'} ({reason})"
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{where.type}, {torch.get_num_threads()} threads"
    return NeuralTable(
        device=name,
        plain=_name(plain),
        fast=_name(dtype),
        path=f"{how}, Winograd convolutions" if ConvFactory.for_device(where, dtype).winograd else how,
        batch_size=count,
        warm_up_s=warm_up,
        plain_ms=plain_ms,
        fast_ms=fast_ms,
        ceiling_gflops=ceilings,
        copy_gbps=copy,
        peak_mb=peak,
    )


def _seconds(call: Callable[[], object], where: Any) -> float:
    """Return the shortest time of several calls, after one for warm-up."""
    runs: list[float] = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        call()
        synchronize(where)
        runs.append(time.perf_counter() - start)
        if sum(runs[1:]) > _MAX_SECONDS:
            break
    return min(runs[1:])


def _convolution_gflops(dtype: Any, where: Any, frames: int) -> float:
    """Return the speed of the generator's most frequent convolution: 3×3, 512 → 512 channels, 64², channels last.

    On CPUs with prepacked weights where possible; `frames` is the batch size.
    """
    import torch

    from ...render.neural.fast import ConvFactory

    x = torch.randn(frames, 512, 64, 64, device=where).to(dtype, memory_format=torch.channels_last)
    conv = ConvFactory.for_device(where, dtype).direct(torch.randn(512, 512, 3, 3), None).to(where)
    count = 4 if where.type == "cpu" else 16  # enough work for the clock

    def run() -> None:
        for _ in range(count):
            conv(x)

    return count * frames * 2 * 512 * 512 * 9 * 64**2 / 1e9 / _seconds(run, where)


def _copy_gbps(where: Any) -> float:
    """Return the bytes read and written per second by a copy larger than the caches."""
    import torch

    x = torch.empty(1 << 28, dtype=torch.uint8, device=where).fill_(1)
    y = torch.empty_like(x)
    return 2 * len(x) / 1e9 / _seconds(lambda: y.copy_(x), where)


def _digits(value: float) -> str:
    """Format with about three significant digits."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _name(dtype: Any) -> str:
    return {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}[str(dtype)]
