"""`liveportrait-talker animate`: a thin door on `Animator`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.animate import AnimateOptions
from .flags import add_options, given_options

if TYPE_CHECKING:
    from ..pipelines.animate import AnimateReport

Progress = Callable[[bool], AbstractContextManager[Callable[[str, int, int], None]]]


def add_animate_parser(
    verbs: Any, common: argparse.ArgumentParser, progress: Progress, say: Callable[[str], None]
) -> None:
    """Add the verb to the command line; `progress(quiet)` makes what shows progress, `say` prints the report."""
    parser = verbs.add_parser(
        "animate",
        parents=[common],
        help="make a portrait (or a video) do what the face in a driving video does",
        description="Make a portrait (or a video) follow a driving face, tagged as AI-generated; the driving video's "
        "sound is kept.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="picture or video with a face")
    parser.add_argument(
        "driving",
        type=Path,
        metavar="DRIVING",
        help="video or picture whose face is followed, or a motion template: .npz, or LivePortrait's .pkl",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="the MP4 to write (.png, .jpg or .webp where a picture follows a picture); SOURCE_DRIVING.mp4 by default",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--save-template", type=Path, metavar="FILE.npz", help="store the driving motion, to be followed again"
    )
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    add_options(parser, AnimateOptions)
    parser.set_defaults(run=lambda arguments: _animate(arguments, progress, say))


def _animate(arguments: argparse.Namespace, progress: Progress, say: Callable[[str], None]) -> int:
    options = given_options(AnimateOptions, arguments)
    out = arguments.out or Path(f"{arguments.source.stem}_{arguments.driving.stem}.mp4")
    from ..pipelines.animate import Animator

    with progress(arguments.quiet) as bars:
        report = Animator().save(
            arguments.source,
            arguments.driving,
            out,
            options,
            overwrite=arguments.overwrite,
            save_template=arguments.save_template,
            on_progress=bars,
        )
    if arguments.json:
        say(json.dumps(report.as_json(), indent=1))
    elif not arguments.quiet:
        say(told(report))
    return 0


def told(report: AnimateReport) -> str:
    """What was made, in one line."""
    width, height = report.size
    sound = "with the driving sound" if report.sound else "without sound"
    kept = f" Its motion is in {report.template}." if report.template is not None else ""
    return (
        f"{report.path}: {report.frames} frames, {report.video_seconds:.1f} s, {width}×{height}, {sound}, drawn by the "
        f"{report.renderer} renderer in {report.elapsed_seconds:.1f} s ({report.speed:.3g} frames/s).{kept}"
    )
