"""`liveportrait-talker score`: the figures of talking videos beside those of people."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..options.score import ScoreOptions
from .console import Bars, print_out
from .flags import add_options, options_from
from .inputs import checking


def add_score_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "score",
        parents=[common],
        help="measure talking videos, whatever made them, beside the ranges of real people",
        description="Measure talking videos, whatever made them: mouth against sound, blinks, head, gaze, steadiness "
        "and looks, each beside the range of real people. docs/score.md defines the figures.",
    )
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="talking video")
    parser.add_argument(
        "--truth", type=Path, metavar="REAL.mp4", help="a person who says the same: mouth and face are compared with it"
    )
    parser.add_argument(
        "--source", type=Path, metavar="PORTRAIT", help="the picture that the video was made from, to compare with"
    )
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="also draw the curves of sound, mouth, eyes and head")
    parser.add_argument("--overwrite", action="store_true", help="replace the plot if it exists")
    add_options(parser, ScoreOptions)
    parser.set_defaults(run=_score)


def _score(arguments: argparse.Namespace) -> int:
    options = options_from(ScoreOptions, arguments)
    footage = [*arguments.videos, arguments.truth, arguments.source]
    with (
        checking(options, sources=footage, videos=arguments.videos) as check,
        Bars(quiet=arguments.quiet) as bars,
    ):
        from ..media.image_output import check_image_output, write_image
        from ..scoring.plot import plot_scores
        from ..scoring.score import score_video
        from ..scoring.table import table_lines

        if arguments.plot is not None:
            check_image_output(arguments.plot, arguments.overwrite)
        check.results()
        scores = [
            score_video(video, truth=arguments.truth, source=arguments.source, options=options, on_progress=bars)
            for video in arguments.videos
        ]
        if arguments.plot is not None:
            write_image(
                arguments.plot,
                plot_scores(scores),
                title="Curves of talking videos",
                comment="Made by liveportrait-talker score",
                overwrite=arguments.overwrite,
            )
    if arguments.json:
        print_out(json.dumps({"videos": [score.as_json() for score in scores]}, indent=1, ensure_ascii=False))
    else:
        lines = [score.name + ": " + score.verdict for score in scores] if arguments.quiet else table_lines(scores)
        plot = [] if arguments.plot is None else [f"plot: {arguments.plot}"]
        print_out("\n".join([*lines, *plot]))
    return 0
