"""Speakers of one video: which face has which voice, as `--speaker FACE:VOICE[@SECONDS][#CHANNEL]` says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import OptionError
from .fields import shown

Place = Literal["left", "middle", "right"]
PLACES: tuple[Place, ...] = ("left", "middle", "right")
FaceName = int | Place
"""A face: its number, from 1, as `faces` lists it, or where it is among the others."""
Turns = tuple[tuple[float, float], ...]
"""(start, end) of each time that someone speaks, in seconds."""

MAX_SPEAKERS = 8
SINGLE_FACE = ("face", "crop", "crop_to_face")
"""Options of `TalkOptions` that are about one face, and refused with several speakers."""
_LONGEST_START_S = 86400.0
_CHANNELS = {"left": 1, "right": 2}
_START = re.compile(r"@(\d+(?:\.\d*)?|\.\d+)$")
_CHANNEL = re.compile(r"#(left|right|\d{1,2})$", re.IGNORECASE)
_FORM = "FACE:VOICE, such as 1:anna.wav, left:ben.wav@3.2 (from 3.2 seconds on) or 2:call.wav#right (one channel)"


@dataclass(frozen=True)
class SpeakerVoice:
    """The voice of one face. Raises OptionError for a value that makes no sense."""

    file: Path
    start_seconds: float = 0.0
    """When the file begins in the video."""
    channel: int | None = None
    """The channel that is heard, 1 = left; None: all."""
    turns: Turns | None = None
    """Seconds of the file in which this face speaks; None: always."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", Path(self.file))
        start, channel = self.start_seconds, self.channel
        if isinstance(start, bool) or not isinstance(start, (int, float)) or not 0 <= start <= _LONGEST_START_S:
            raise OptionError(f"a voice starts at 0 to {_LONGEST_START_S:g} seconds, not at {shown(start)}.")
        if channel is not None and (isinstance(channel, bool) or not isinstance(channel, int) or channel < 1):
            raise OptionError(f"the channel of a voice is a number from 1 (left), not {shown(channel)}.")
        for turn in self.turns or ():
            if not _is_turn(turn):
                raise OptionError(f"a turn is (start, end) in seconds, the end after the start, not {shown(turn)}.")


def _is_turn(turn: Any) -> bool:
    if not isinstance(turn, (tuple, list)) or len(turn) != 2:
        return False
    if any(isinstance(time, bool) or not isinstance(time, (int, float)) for time in turn):
        return False
    return math.isfinite(turn[0]) and math.isfinite(turn[1]) and 0 <= turn[0] < turn[1]


Speakers = dict[FaceName, SpeakerVoice]


def parse_speaker(text: str) -> tuple[FaceName, SpeakerVoice]:
    """Return the face and the voice of one `--speaker`. Raises OptionError."""
    face, colon, voice = text.partition(":")
    if not colon or not voice:
        raise OptionError(f"--speaker {text}: give {_FORM}.")
    return parse_face(face), parse_voice(voice)


def parse_face(name: Any) -> FaceName:
    """Return the face that a number, its text, or left, middle, right names. Raises OptionError."""
    plain = str(name).strip().lower()
    for place in PLACES:
        if plain == place:
            return place
    if isinstance(name, bool) or not plain.isdecimal() or not 1 <= len(plain) <= 2 or int(plain) < 1:
        raise OptionError(f"{shown(name)} is no face: give a number from 1, or left, middle or right.")
    return int(plain)


def parse_voice(text: str | Path) -> SpeakerVoice:
    """Return the voice of VOICE[@SECONDS][#CHANNEL]; the name of a file that exists is taken as it is."""
    if not isinstance(text, (str, Path)):
        raise TypeError(f"a voice is the name of a file, or a SpeakerVoice, not {type(text).__name__}")
    start, channel, name = 0.0, None, str(text)
    while not Path(name).is_file():
        if (found := _START.search(name)) and not start:
            start = float(found[1])
        elif (found := _CHANNEL.search(name)) and channel is None:
            side = found[1].lower()
            channel = _CHANNELS.get(side) or int(side)
        else:
            break
        name = name[: found.start()]
    return SpeakerVoice(Path(name), start, channel)


def speakers_from(given: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> Speakers:
    """Return the speakers of faces and their voices: `SpeakerVoice`s, or texts as `parse_voice` reads.

    Raises:
        OptionError: there are none, or too many, or one is no face.
    """
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    voices = {
        parse_face(face): voice if isinstance(voice, SpeakerVoice) else parse_voice(voice) for face, voice in pairs
    }
    if len(voices) < len(pairs):
        raise OptionError("a face has two voices: give each face one.")
    if not 1 <= len(voices) <= MAX_SPEAKERS:
        raise OptionError(f"there are {len(voices)} speakers: give 1 to {MAX_SPEAKERS}.")
    return voices
