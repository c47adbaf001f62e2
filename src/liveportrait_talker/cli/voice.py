"""The voices of `generate` and `bench`: a file, a text that is spoken, or one voice for each of several faces."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..audio.speech import DEFAULT_PACE, DEFAULT_VOICE, FASTEST, SLOWEST, speak
from ..errors import OptionError
from ..options.speakers import Speakers, parse_face, parse_speaker
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
            raise OptionError("there is no voice: give a VOICE file, a text with --text, or voices with --speaker.")
        yield arguments.voice
        return
    if arguments.voice is not None:
        raise OptionError("VOICE and --text contradict each other: give one of them.")
    with TemporaryFolder("lpt-text-") as folder:
        yield speak(arguments.text, folder / "text.wav", voice=arguments.speech_voice, pace=arguments.pace)


def add_speaker_options(parser: argparse.ArgumentParser) -> None:
    """Add `--speaker` and `--turns`."""
    group = parser.add_argument_group("several speakers, in place of a voice")
    group.add_argument(
        "--speaker",
        action="append",
        metavar="FACE:VOICE",
        help="this face (its number in `faces`, or left, middle, right) has this voice; once for each speaker. "
        "ben.wav@3.2 begins at 3.2 seconds, call.wav#left is one channel of a file. Who has no voice listens",
    )
    group.add_argument(
        "--turns",
        type=Path,
        metavar="FILE",
        help="VOICE is one recording of all; this list (RTTM, or CSV or JSON with start, end, speaker) says who speaks "
        "when, and --speaker FACE:NAME whose face it is",
    )


def speakers_of(arguments: argparse.Namespace) -> Speakers | None:
    """Return the speakers of a command, None where it names none. Raises OptionError, and MediaError for `--turns`."""
    given = arguments.speaker
    if given is None:
        if arguments.turns is not None:
            raise OptionError("--turns needs to know whose faces they are: add --speaker FACE:NAME for each.")
        return None
    if arguments.text is not None:
        raise OptionError("--text and --speaker contradict each other: give one of them.")
    if arguments.turns is None and arguments.voice is not None:
        raise OptionError("VOICE and --speaker contradict each other: give one of them, or add --turns.")
    if arguments.turns is not None:
        from ..pipelines.turns import voices_from_turns

        if arguments.voice is None:
            raise OptionError("--turns is about one recording: give it as VOICE.")
        names = [text.partition(":") for text in given]
        pairs: list[tuple[Any, Any]] = [(parse_face(face), name) for face, _, name in names]
    else:
        pairs = [parse_speaker(text) for text in given]
    for face, _ in pairs:
        if sum(face == other for other, _ in pairs) > 1:
            raise OptionError(f"--speaker {face} is given twice: join its recordings to one file, or use --turns.")
    if arguments.turns is None:
        return dict(pairs)
    return voices_from_turns(arguments.voice, arguments.turns, dict(pairs))
