"""`liveportrait-talker edit`: a thin door on `Editor`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.edit import EditOptions, EditSetup
from .flags import add_options, given_options

if TYPE_CHECKING:
    from ..pipelines.edit import EditReport

Progress = Callable[[bool], AbstractContextManager[Callable[[str, int, int], None]]]


def add_edit_parser(
    verbs: Any, common: argparse.ArgumentParser, progress: Progress, say: Callable[[str], None]
) -> None:
    """Add the verb to the command line; `progress(quiet)` makes what shows progress, `say` prints the report."""
    parser = verbs.add_parser(
        "edit",
        parents=[common],
        help="pose the face of a portrait with sliders, or copy the expression of another picture",
        description="Change the expression of a portrait, tagged as AI-generated. The ranges are LivePortrait's: 0 is "
        "the picture as it is.",
    )
    parser.add_argument("portrait", type=Path, metavar="PORTRAIT", help="picture with a face")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="the .png, .jpg or .webp to write, with --keyframes an .mp4; PORTRAIT_edited.png by default",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--keyframes",
        type=Path,
        metavar="FILE",
        help='make a clip: JSON, a list of {"time": seconds, "smile": 1, …}, or CSV with such a header',
    )
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    add_options(parser, EditOptions, path_is="PICTURE")
    add_options(parser, EditSetup)
    parser.set_defaults(run=lambda arguments: _edit(arguments, progress, say))


def _edit(arguments: argparse.Namespace, progress: Progress, say: Callable[[str], None]) -> int:
    edit, setup = given_options(EditOptions, arguments), given_options(EditSetup, arguments)
    kind = ".png" if arguments.keyframes is None else ".mp4"
    out = arguments.out or Path(f"{arguments.portrait.stem}_edited{kind}")
    from ..pipelines.edit import Editor

    with progress(arguments.quiet) as bars:
        report = Editor().save(
            arguments.portrait,
            out,
            edit,
            setup=setup,
            keyframes=arguments.keyframes,
            overwrite=arguments.overwrite,
            on_progress=bars,
        )
    if arguments.json:
        say(json.dumps(report.as_json(), indent=1))
    elif not arguments.quiet:
        say(told(report))
    return 0


def told(report: EditReport) -> str:
    """What was made, in one line."""
    width, height = report.size
    what = "a picture" if report.frames == 1 else f"{report.frames} frames"
    return (
        f"{report.path}: {what}, {width}×{height}, drawn by the {report.renderer} renderer in "
        f"{report.elapsed_seconds:.1f} s."
    )
