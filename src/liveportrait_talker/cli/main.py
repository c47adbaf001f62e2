"""The command line: one function a verb, made from `TalkOptions`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..errors import OptionError, TalkerError
from ..options.talk import TalkOptions
from ..system.devices import COMPILE, DEVICES, PRECISIONS
from .console import Bars, accept_any_text, print_out, say
from .flags import add_options, given_options
from .voice import add_speech_options, voice_of

if TYPE_CHECKING:
    from ..pipelines.talk import TalkReport

EXIT_MISTAKE, EXIT_FAILURE, EXIT_INTERRUPTED = 2, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 2 a mistake the user can mend, 1 our failure, 130 Ctrl-C."""
    accept_any_text()
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    # Before 3.13 argparse takes no second file once an option has stood between the two.
    if len(rest) == 1 and not rest[0].startswith("-") and getattr(arguments, "voice", arguments) is None:
        arguments.voice = Path(rest.pop())
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return guarded(lambda: arguments.run(arguments), debug=arguments.debug, quiet=arguments.quiet)


def guarded(run: Callable[[], int], *, debug: bool, quiet: bool) -> int:
    """The exit code of `run`, or that of what it raises, told in one sentence; Ctrl-C and SIGTERM are answered too.

    Args:
        run: does the work and gives an exit code.
        debug: show the traceback of an error.
        quiet: show no notes, only errors.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to stop: clean up as for Ctrl-C
    _show_notes(quiet=quiet)
    try:
        return run()
    except TalkerError as error:
        if debug:
            say(traceback.format_exc().rstrip())
        say(f"error: {error}")
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        say("stopped; nothing was left behind.")
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            say(traceback.format_exc().rstrip())
        say(
            f"error: something went wrong that should not have ({type(error).__name__}: {error}); add --debug for more."
        )
        return EXIT_FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="liveportrait-talker",
        description="A portrait (or a video) and a voice go in, a talking video comes out.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    common = Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--quiet", action="store_true", help="no progress, no notes, only errors")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    generate = verbs.add_parser(
        "generate",
        parents=[common],
        help="make a talking video from a portrait (or a video) and a voice",
        description="Make a talking video, tagged as AI-generated. Transparent pictures are laid on light grey.",
    )
    generate.add_argument("source", type=Path, metavar="SOURCE", help="picture or video with a face")
    generate.add_argument(
        "voice", type=Path, metavar="VOICE", nargs="?", help="sound, or a video whose sound is used; or give --text"
    )
    generate.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="the MP4 to write; SOURCE_VOICE.mp4 by default"
    )
    generate.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    generate.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    add_speech_options(generate)
    add_talk_options(generate)
    generate.set_defaults(run=_generate)

    demo = verbs.add_parser(
        "demo",
        parents=[common],
        help="make a video from the example that the package holds",
        description="Make a talking video from the portrait and the voice that the package holds.",
    )
    demo.add_argument("-o", "--out", type=Path, default=Path("demo.mp4"), metavar="FILE", help="demo.mp4 by default")
    demo.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    demo.add_argument("--examples", type=Path, metavar="DIR", help="copy the example files into this folder as well")
    demo.set_defaults(run=_demo)

    doctor = verbs.add_parser(
        "doctor", parents=[common], help="say what is installed, what can run and what is missing"
    )
    doctor.set_defaults(run=_doctor)

    bench = verbs.add_parser("bench", parents=[common], help="time every stage on this machine, as ratios in one run")
    bench.add_argument("source", type=Path, nargs="?", metavar="PICTURE", help="the portrait that embedded draws")
    bench.add_argument(
        "--renderer", choices=("embedded", "neural"), default="embedded", help="what to time (default embedded)"
    )
    bench.add_argument("--training", action="store_true", help="time preparing data and training instead")
    bench.add_argument("--device", choices=DEVICES, default="auto", help="where networks run")
    bench.add_argument("--precision", choices=PRECISIONS, default="auto", help="neural: format of the fast path")
    bench.add_argument(
        "--compile", choices=COMPILE, default="auto", help="neural: torch.compile for the fast path on an NVIDIA GPU"
    )
    bench.add_argument("--batch-size", type=int, metavar="N", help="neural: frames the fast path draws at once, 1…64")
    bench.add_argument("--frames", type=int, default=250, help="embedded: frames to draw, 25…5000 (default 250)")
    bench.add_argument("--json", action="store_true", help="print the table as JSON")
    bench.set_defaults(run=_bench)

    from .animate import add_animate_parser
    from .batch import add_batch_parser
    from .edit import add_edit_parser
    from .models import add_models_parser
    from .training import add_training_parsers
    from .ui import add_ui_parser

    add_animate_parser(verbs, common, lambda quiet: Bars(quiet=quiet), print_out)
    add_edit_parser(verbs, common, lambda quiet: Bars(quiet=quiet), print_out)
    add_batch_parser(verbs, common, lambda quiet: Bars(quiet=quiet))
    add_models_parser(verbs, common, lambda quiet: Bars(quiet=quiet))
    add_training_parsers(verbs, common, lambda quiet: Bars(quiet=quiet))
    add_ui_parser(verbs, common)
    return parser


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one sentence, like every other."""

    def error(self, message: str) -> NoReturn:
        """Leave with code 2."""
        say(f"error: {message}; `{self.prog} --help` lists what can be given.")
        sys.exit(EXIT_MISTAKE)


def add_talk_options(parser: argparse.ArgumentParser) -> None:
    """One flag for each field of `TalkOptions`, in its groups."""
    add_options(parser, TalkOptions)


def talk_options(arguments: argparse.Namespace) -> TalkOptions:
    """The options that were given. Raises OptionError."""
    return given_options(TalkOptions, arguments)


def _generate(arguments: argparse.Namespace) -> int:
    options = talk_options(arguments)
    said = "text" if arguments.voice is None else arguments.voice.stem
    out = arguments.out or Path(f"{arguments.source.stem}_{said}.mp4")
    from ..pipelines.talk import Talker

    with voice_of(arguments) as voice, Bars(quiet=arguments.quiet) as bars:
        report = Talker().save(arguments.source, voice, out, options, overwrite=arguments.overwrite, on_progress=bars)
    if arguments.json:
        print_out(json.dumps(report.as_json(), indent=1))
    elif not arguments.quiet:
        print_report(report)
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
    if not arguments.quiet:
        print_report(report)
    return 0


def print_report(report: TalkReport) -> None:
    """Say on standard output what was made."""
    width, height = report.size
    print_out(
        f"{report.path}: {report.frames} frames, {report.video_seconds:.1f} s, {width}×{height}, drawn by the "
        f"{report.renderer} renderer in {report.elapsed_seconds:.1f} s ({report.speed:.3g} frames/s)."
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from ..pipelines.doctor import report

    lines, healthy = report()
    print_out("\n".join(lines))
    return 0 if healthy else EXIT_FAILURE


def _bench(arguments: argparse.Namespace) -> int:
    if not 25 <= arguments.frames <= 5000:
        raise OptionError(f"--frames {arguments.frames} is out of range: give 25 … 5000.")
    if arguments.renderer == "embedded" and arguments.source is None and not arguments.training:
        raise OptionError("bench needs a PICTURE to draw; bench --renderer neural and bench --training need none.")
    chosen = _training_table if arguments.training else _neural_table
    if arguments.renderer == "embedded" and not arguments.training:
        chosen = _embedded_table
    with Bars(quiet=arguments.quiet) as bars:
        table = chosen(arguments, bars)
    print_out(json.dumps(table.as_json(), indent=1) if arguments.json else str(table))
    return 0


def _embedded_table(arguments: argparse.Namespace, bars: Bars) -> Any:
    from .bench.embedded import bench

    return bench(arguments.source, frames=arguments.frames, on_progress=bars)


def _neural_table(arguments: argparse.Namespace, bars: Bars) -> Any:
    from .bench.neural import bench_neural

    if arguments.batch_size is not None and not 1 <= arguments.batch_size <= 64:
        raise OptionError(f"--batch-size {arguments.batch_size} is out of range: give 1 … 64.")
    return bench_neural(
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
        batch_size=arguments.batch_size,
        on_progress=bars,
    )


def _training_table(arguments: argparse.Namespace, bars: Bars) -> Any:
    from .bench.training import bench_training

    return bench_training(source=arguments.source, device=arguments.device, on_progress=bars)


class _Notes(logging.Handler):
    """The library's warnings, each as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {record.getMessage()}")


def _show_notes(*, quiet: bool) -> None:
    log = logging.getLogger("liveportrait_talker")
    log.handlers = [logging.NullHandler() if quiet else _Notes()]
    log.setLevel(logging.INFO)
    log.propagate = False


if __name__ == "__main__":
    sys.exit(main())
