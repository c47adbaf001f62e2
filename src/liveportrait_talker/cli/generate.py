"""`liveportrait-talker generate` and `demo`: a talking video from a portrait and a voice."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options.talk import TalkOptions
from .console import Bars, print_out
from .flags import add_options, options_from
from .inputs import checking, video_suffix
from .report import add_output_options, print_report
from .voice import add_speaker_options, add_speech_options, speakers_of, voice_of

if TYPE_CHECKING:
    from ..pipelines.run import Report


def add_generate_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "generate",
        parents=[common],
        help="make a talking video from a portrait (or a video) and a voice",
        description="Make a talking video, tagged as AI-generated. Transparent pictures are composed on light grey, "
        "unless --background says otherwise.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="picture or video with a face")
    parser.add_argument(
        "voice",
        type=Path,
        metavar="VOICE",
        nargs="?",
        help="sound, or a video whose sound is used; or give --text or --speaker",
    )
    add_output_options(parser, "the MP4 to write (transparent: .webm, .mov or %%05d.png); SOURCE_VOICE.mp4 by default")
    add_speech_options(parser)
    add_speaker_options(parser)
    add_options(parser, TalkOptions)
    parser.set_defaults(run=_generate)


def add_demo_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="make a video from the example that the package holds",
        description="Make a talking video from the portrait and the voice that the package holds.",
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("demo.mp4"), metavar="FILE", help="demo.mp4 by default")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--examples", type=Path, metavar="DIR", help="copy the example files into this folder as well")
    parser.set_defaults(run=_demo)


def _generate(arguments: argparse.Namespace) -> int:
    options = options_from(TalkOptions, arguments)
    speakers = speakers_of(arguments)
    voices = [arguments.voice] if speakers is None else [voice.file for voice in speakers.values()]
    voice_name = "text" if voices[0] is None else voices[0].stem if len(voices) == 1 else "dialogue"
    out = arguments.out or Path(f"{arguments.source.stem}_{voice_name}{video_suffix(options)}")
    sources = (arguments.source, options.ref_head_pose, options.ref_blink)
    with (
        checking(options, sources=sources, voices=voices) as check,
        nullcontext(speakers) if speakers is not None else voice_of(arguments) as voice,
        Bars(quiet=arguments.quiet) as bars,
    ):
        from ..pipelines.talk import Talker

        check.results()
        report = Talker().save(arguments.source, voice, out, options, overwrite=arguments.overwrite, on_progress=bars)
    print_report(report, describe(report), arguments)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from ..examples import PORTRAIT, VOICE, copy_examples
    from ..pipelines.talk import Talker

    if arguments.examples is not None:
        copies = copy_examples(arguments.examples)
        if not arguments.quiet:
            print_out(f"{arguments.examples}: {len(copies)} example files copied")
    with Bars(quiet=arguments.quiet) as bars:
        report = Talker().save(PORTRAIT, VOICE, arguments.out, overwrite=arguments.overwrite, on_progress=bars)
    print_report(report, describe(report), arguments)
    return 0


def describe(report: Report) -> str:
    """Return in one line what was made."""
    width, height = report.size
    return (
        f"{report.path}: {report.frames} frames, {report.video_seconds:.1f} s, {width}×{height}, drawn by the "
        f"{report.renderer} renderer in {report.elapsed_seconds:.1f} s ({report.speed:.3g} frames/s)."
    )
