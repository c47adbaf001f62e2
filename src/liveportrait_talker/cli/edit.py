"""`liveportrait-talker edit`: the face of a portrait, posed with sliders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.edit import EditOptions, EditSetup
from .console import Bars
from .flags import add_options, options_from
from .inputs import checking, video_suffix
from .report import add_output_options, print_report

if TYPE_CHECKING:
    from ..pipelines.edit import EditReport


def add_edit_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "edit",
        parents=[common],
        help="pose the face of a portrait with sliders, or copy the expression of another picture",
        description="Change the expression of a portrait, tagged as AI-generated. The ranges are LivePortrait's: 0 is "
        "the picture as it is.",
    )
    parser.add_argument("portrait", type=Path, metavar="PORTRAIT", help="picture with a face")
    add_output_options(
        parser, "the .png, .jpg or .webp to write, with --keyframes an .mp4; PORTRAIT_edited.png by default"
    )
    parser.add_argument(
        "--keyframes",
        type=Path,
        metavar="FILE",
        help='make a clip: JSON, a list of {"time": seconds, "smile": 1, …}, or CSV with such a header',
    )
    add_options(parser, EditOptions, EditSetup, path_is="PICTURE")
    parser.set_defaults(run=_edit)


def _edit(arguments: argparse.Namespace) -> int:
    edit, setup = options_from(EditOptions, arguments), options_from(EditSetup, arguments)
    suffix = ".png" if arguments.keyframes is None else video_suffix(setup)
    out = arguments.out or Path(f"{arguments.portrait.stem}_edited{suffix}")
    with (
        checking(setup, sources=(arguments.portrait, edit.sample)) as check,
        Bars(quiet=arguments.quiet) as bars,
    ):
        from ..pipelines.edit import Editor

        check.results()
        report = Editor().save(
            arguments.portrait,
            out,
            edit,
            setup=setup,
            keyframes=arguments.keyframes,
            overwrite=arguments.overwrite,
            on_progress=bars,
        )
    print_report(report, _describe(report), arguments)
    return 0


def _describe(report: EditReport) -> str:
    width, height = report.size
    kind = "a picture" if report.frames == 1 else f"{report.frames} frames"
    return (
        f"{report.path}: {kind}, {width}×{height}, drawn by the {report.renderer} renderer in "
        f"{report.elapsed_seconds:.1f} s."
    )
