"""`liveportrait-talker faces`: the faces of a picture or a video, with the numbers that `--speaker` takes."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.talk import TalkOptions
from .console import Bars, print_out
from .inputs import checking

if TYPE_CHECKING:
    from ..pipelines.faces import FoundFace


def add_faces_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "faces",
        parents=[common],
        help="list the faces of a picture or a video, numbered",
        description="List the faces of a picture, or everybody in a video, with the numbers that --face and --speaker "
        "take.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="picture or video")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="write it with the numbers drawn in (.png, .jpg)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--json", action="store_true", help="print a machine-readable list on standard output")
    parser.set_defaults(run=_faces)


def _faces(arguments: argparse.Namespace) -> int:
    options = TalkOptions()
    with checking(options, sources=[arguments.source]) as check, Bars(quiet=arguments.quiet) as bars:
        from ..pipelines.faces import find_faces

        check.results()
        found = find_faces(arguments.source, arguments.out, options, overwrite=arguments.overwrite, on_progress=bars)
    if arguments.json:
        print_out(json.dumps([dataclasses.asdict(face) for face in found], indent=1))
        return 0
    for face in found:
        print_out(_describe(face))
    if arguments.out is not None and not arguments.quiet:
        print_out(f"{arguments.out}: the picture with the numbers")
    return 0


def _describe(face: FoundFace) -> str:
    left, top, right, bottom = face.box
    line = f"{face.number}: {face.place or 'between others'}, {right - left}×{bottom - top} px at {left}, {top}"
    line += f", {face.eye_distance:.0f} px between the eyes"
    if face.seen < 1:
        line += f", first seen at {face.first_seconds:.1f} s, {100 * face.seen:.0f} % of the time"
    return line
