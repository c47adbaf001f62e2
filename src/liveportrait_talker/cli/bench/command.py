"""`liveportrait-talker bench`: the speed of this machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ...errors import OptionError
from ...options.shared import RENDERERS
from ...system.devices import COMPILE, DEVICES, PRECISIONS
from ..console import Bars, print_out


def add_bench_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "bench", parents=[common], help="time every stage on this machine, as ratios in one run"
    )
    parser.add_argument("source", type=Path, nargs="?", metavar="PICTURE", help="the portrait that embedded draws")
    parser.add_argument(
        "--renderer",
        choices=RENDERERS,
        help="what to time (default embedded; auto with --live, which alone times auto and hybrid)",
    )
    parser.add_argument("--training", action="store_true", help="time preparing data and training instead")
    parser.add_argument("--live", action="store_true", help="time live sessions at real-time pace instead")
    parser.add_argument("--sessions", type=int, default=1, metavar="N", help="live: sessions at once, 1…16 (default 1)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="device of the networks")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="neural: format of the fast path")
    parser.add_argument(
        "--compile", choices=COMPILE, default="auto", help="neural: torch.compile for the fast path on an NVIDIA GPU"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="neural: frames the fast path draws at once, 1…64")
    parser.add_argument("--frames", type=int, default=250, help="embedded, live: frames to draw, 25…5000 (default 250)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    if not 25 <= arguments.frames <= 5000:
        raise OptionError(f"--frames {arguments.frames} is out of range: give 25 … 5000.")
    if arguments.batch_size is not None and not 1 <= arguments.batch_size <= 64:
        raise OptionError(f"--batch-size {arguments.batch_size} is out of range: give 1 … 64.")
    if not 1 <= arguments.sessions <= 16:
        raise OptionError(f"--sessions {arguments.sessions} is out of range: give 1 … 16.")
    if arguments.renderer in ("auto", "hybrid") and not arguments.live:
        raise OptionError(f"bench --renderer {arguments.renderer} times live sessions only: add --live.")
    if arguments.live and arguments.source is None:
        raise OptionError("bench --live needs a PICTURE to draw.")
    if arguments.renderer != "neural" and arguments.source is None and not arguments.training:
        raise OptionError("bench needs a PICTURE to draw; bench --renderer neural and bench --training need none.")
    with Bars(quiet=arguments.quiet) as bars:
        table = _table(arguments, bars)
    print_out(json.dumps(table.as_json(), indent=1) if arguments.json else str(table))
    return 0


def _table(arguments: argparse.Namespace, bars: Bars) -> Any:
    if arguments.training:
        from .training import bench_training

        return bench_training(source=arguments.source, device=arguments.device, on_progress=bars)
    if arguments.live:
        from ...options.live import LiveOptions
        from ...pipelines.talk import DEFAULT_FPS
        from .live import bench_live

        seconds, sessions = arguments.frames / DEFAULT_FPS, arguments.sessions
        options = LiveOptions(
            renderer=arguments.renderer or "auto",
            device=arguments.device,
            precision=arguments.precision,
            compile=arguments.compile,
        )
        return bench_live(arguments.source, options, seconds=seconds, sessions=sessions, on_progress=bars)
    if arguments.renderer != "neural":
        from .embedded import bench

        return bench(arguments.source, frames=arguments.frames, on_progress=bars)
    from .neural import bench_neural

    return bench_neural(
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
        batch_size=arguments.batch_size,
        on_progress=bars,
    )
