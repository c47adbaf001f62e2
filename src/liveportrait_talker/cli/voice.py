"""The voice argument of `generate` and `bench`: a file, or a text that is spoken."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..audio.speech import DEFAULT_PACE, DEFAULT_VOICE, FASTEST, SLOWEST, speak
from ..errors import OptionError
from ..system.temporary_folders import TemporaryFolder


def add_speech_options(parser: argparse.ArgumentParser) -> None:
    """Add `--text` and its options."""
    group = parser.add_argument_group("typed text in place of a voice (extra `speech`)")
    group.add_argument("--text", metavar="TEXT", help="speak this text, in a basic, robotic voice (eSpeak NG)")
    group.add_argument(
        "--speech-voice", default=DEFAULT_VOICE, metavar="CODE", help=f"its language (default {DEFAULT_VOICE})"
    )
    group.add_argument(
        "--pace",
        type=int,
        default=DEFAULT_PACE,
        metavar="N",
        help=f"its words a minute ({SLOWEST}…{FASTEST}, default {DEFAULT_PACE})",
    )


@contextmanager
def voice_of(arguments: argparse.Namespace) -> Iterator[Path]:
    """Yield the voice of a command: VOICE, or `--text` as speech in a file that is removed afterwards.

    Raises:
        OptionError: neither was given, or both, or the text cannot be spoken.
    """
    if arguments.text is None:
        if arguments.voice is None:
            raise OptionError("there is no voice: give a VOICE file, or a text with --text.")
        yield arguments.voice
        return
    if arguments.voice is not None:
        raise OptionError("VOICE and --text contradict each other: give one of them.")
    with TemporaryFolder("lpt-text-") as folder:
        yield speak(arguments.text, folder / "text.wav", voice=arguments.speech_voice, pace=arguments.pace)
