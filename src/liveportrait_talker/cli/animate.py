"""`liveportrait-talker animate`: a portrait (or a video) that follows another face."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.animate import AnimateOptions
from .console import Bars
from .flags import add_options, options_from
from .inputs import checking, video_suffix
from .report import add_output_options, print_report

if TYPE_CHECKING:
    from ..pipelines.animate import AnimateReport


def add_animate_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
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
    add_output_options(
        parser,
        "the MP4 to write (.png, .jpg, .webp where a picture follows a picture); SOURCE_DRIVING.mp4 or .png by default",
    )
    parser.add_argument(
        "--save-template", type=Path, metavar="FILE.npz", help="store the driving motion, to be followed again"
    )
    add_options(parser, AnimateOptions)
    parser.set_defaults(run=_animate)


def _animate(arguments: argparse.Namespace) -> int:
    options = options_from(AnimateOptions, arguments)
    inputs = (arguments.source, arguments.driving)
    with (
        checking(options, sources=[arguments.source], driving=arguments.driving) as check,
        Bars(quiet=arguments.quiet) as bars,
    ):
        from ..media.image_output import is_image_name
        from ..pipelines.animate import Animator

        suffix = ".png" if all(map(is_image_name, inputs)) else video_suffix(options)
        out = arguments.out or Path(f"{arguments.source.stem}_{arguments.driving.stem}{suffix}")
        check.results()
        report = Animator().save(
            arguments.source,
            arguments.driving,
            out,
            options,
            overwrite=arguments.overwrite,
            save_template=arguments.save_template,
            on_progress=bars,
        )
    print_report(report, _describe(report), arguments)
    return 0


def _describe(report: AnimateReport) -> str:
    width, height = report.size
    sound = "with the driving sound" if report.sound else "without sound"
    template = f" Its motion is in {report.template}." if report.template is not None else ""
    return (
        f"{report.path}: {report.frames} frames, {report.video_seconds:.1f} s, {width}×{height}, {sound}, drawn by the "
        f"{report.renderer} renderer in {report.elapsed_seconds:.1f} s ({report.speed:.3g} frames/s).{template}"
    )
