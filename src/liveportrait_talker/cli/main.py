"""The command line: `main` parses the arguments and runs one command."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import TalkerError
from .animate import add_animate_parser
from .batch import add_batch_parser
from .bench.command import add_bench_parser
from .console import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_MISTAKE, prepare_streams, print_out, say, show_trace
from .doctor import add_doctor_parser
from .edit import add_edit_parser
from .faces import add_faces_parser
from .generate import add_demo_parser, add_generate_parser
from .label import add_label_parser
from .live import add_live_parser
from .models import add_models_parser
from .score import add_score_parser
from .training import add_training_parsers
from .ui import add_ui_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 2 a mistake of the user, 1 our failure, 130 Ctrl-C."""
    prepare_streams()
    if not (sys.argv[1:] if argv is None else argv):
        print_out(_FIRST_STEPS)
        return 0
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    # Before Python 3.13 argparse does not accept the second positional argument after an option.
    if len(rest) == 1 and not rest[0].startswith("-") and getattr(arguments, "voice", arguments) is None:
        arguments.voice = Path(rest.pop())
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return guarded(lambda: arguments.run(arguments), debug=arguments.debug, quiet=arguments.quiet)


def guarded(run: Callable[[], int], *, debug: bool, quiet: bool) -> int:
    """Return the exit code of `run`; report what it raises in one sentence, and handle Ctrl-C, SIGTERM and SIGHUP.

    Args:
        run: does the work and returns an exit code.
        debug: show the traceback of an error.
        quiet: show no notes, only errors.
    """
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # SIGHUP: the terminal was closed
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, signal.default_int_handler)  # clean up as for Ctrl-C
    _show_notes(quiet=quiet)
    try:
        return run()
    except KeyboardInterrupt:
        say("stopped; nothing was left behind.")
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            show_trace(traceback.format_exc())
        if isinstance(error, TalkerError):
            say(f"error: {error}")
            return EXIT_MISTAKE
        if isinstance(error, OSError) and error.filename is not None:
            say(f"error: {error.filename} cannot be used ({error.strerror}): check its name and the permissions.")
            return EXIT_MISTAKE
        say(
            f"error: something went wrong that should not have ({type(error).__name__}: {error}); add --debug for more."
        )
        return EXIT_FAILURE


_FIRST_STEPS = """\
LivePortraitTalker makes pictures and videos of people talk.

  a talking video from your picture and your voice
    liveportrait-talker generate portrait.jpg voice.wav        (without files of your own: liveportrait-talker demo)
  a page in your browser, where everything can be tried
    liveportrait-talker ui
  a face that speaks live, for calls and voice agents
    liveportrait-talker live portrait.jpg

The page and live need more packages than the first: `liveportrait-talker doctor` says what can run here and how to
install the rest, `liveportrait-talker --help` lists all commands."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="liveportrait-talker",
        description="A portrait (or a video) and a voice go in, a talking video comes out.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    common = Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--quiet", action="store_true", help="no progress, no notes, only errors")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_generate_parser(commands, common)
    add_demo_parser(commands, common)
    add_doctor_parser(commands, common)
    add_bench_parser(commands, common)
    add_animate_parser(commands, common)
    add_edit_parser(commands, common)
    add_faces_parser(commands, common)
    add_batch_parser(commands, common)
    add_live_parser(commands, common)
    add_models_parser(commands, common)
    add_label_parser(commands, common)
    add_score_parser(commands, common)
    add_training_parsers(commands, common)
    add_ui_parser(commands, common)
    return parser


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        say(f"error: {message}; `{self.prog} --help` lists what can be given.")
        sys.exit(EXIT_MISTAKE)


class _Notes(logging.Handler):
    """Prints the library's warnings, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {record.getMessage()}")


def _show_notes(*, quiet: bool) -> None:
    log = logging.getLogger("liveportrait_talker")
    log.handlers = [logging.NullHandler() if quiet else _Notes()]
    log.setLevel(logging.INFO)
    log.propagate = False
