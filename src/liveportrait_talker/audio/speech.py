"""Text → voice: eSpeak NG, a small formant synthesiser. It is clear to understand and sounds like a robot.

The library and its data come with the package `espeakng-loader` (extra `speech`); nothing is fetched at run time.
eSpeak NG is under GPL-3.0-or-later, which is why it is an extra: this package only calls it where it is installed.
"""

from __future__ import annotations

import ctypes
import os
import threading
import wave
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError

MAX_CHARACTERS = 5000
"""About six minutes of speech."""
DEFAULT_VOICE = "en-gb"
DEFAULT_PACE = 160
SLOWEST, FASTEST = 80, 350
MISSING = "text needs a voice, which is not installed: pip install 'liveportrait-talker[speech]'"

_RETRIEVAL = 1  # AUDIO_OUTPUT_RETRIEVAL: samples come to the callback, no sound card is opened
_DO_NOT_EXIT = 0x8000  # else the library ends our process where its data is missing
_UTF8 = 1
_RATE, _POSITION_CHARACTER = 1, 1
_NO_DICTIONARY = ("fo", "kaa", "xex")  # listed by espeakng-loader 0.2.4, which has no dictionary of theirs
_ONE_AT_A_TIME = threading.Lock()  # the library has one state for the whole process
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class SpeechVoice:
    """A voice that `speak` knows: its code (`en-gb`), the name of its language, and eSpeak NG's name of it."""

    code: str
    language: str
    identifier: str


class _Entry(ctypes.Structure):
    """espeak_VOICE."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


def is_installed() -> bool:
    """Is the extra `speech` here?"""
    return find_spec("espeakng_loader") is not None


def voices() -> tuple[SpeechVoice, ...]:
    """Every voice, by language. Raises OptionError where the extra is missing."""
    with _ONE_AT_A_TIME:
        return _voices()


def speak(text: str, path: Path, *, voice: str = DEFAULT_VOICE, pace: int = DEFAULT_PACE) -> Path:
    """Write `text`, spoken, to a WAV file (mono, 16 bit, 22 050 Hz). Basic: a robot's voice.

    Args:
        text: what to say, up to MAX_CHARACTERS characters.
        path: the WAV file; it is replaced if it exists.
        voice: the code of one of `voices()`.
        pace: words a minute, SLOWEST … FASTEST.

    Raises:
        OptionError: the extra is missing, or text, voice or pace make no sense.
        MediaError: the file cannot be written.
    """
    check_text(text)
    if not SLOWEST <= pace <= FASTEST:
        raise OptionError(f"a pace of {pace} words a minute is out of range: give {SLOWEST} … {FASTEST}.")
    with _ONE_AT_A_TIME:
        samples, rate = _spoken(text.strip(), voice, pace)
    if len(samples) < rate // 5 * 2:  # 0.2 s of 16 bit
        raise OptionError("the text holds nothing that can be said: write a sentence.")
    try:
        with path.open("wb") as file, wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(rate)
            sound.writeframes(samples)
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); name another place") from error
    return path


def check_text(text: str) -> None:
    """Raise OptionError where there is nothing to say, or too much."""
    if not text.strip():
        raise OptionError("there is no text to say: write a sentence.")
    if len(text) > MAX_CHARACTERS:
        raise OptionError(f"the text has {len(text):,} characters, the limit is {MAX_CHARACTERS:,}: shorten it.")


def _spoken(text: str, voice: str, pace: int) -> tuple[bytes, int]:
    library, rate = _library()
    known = {entry.code: entry for entry in _voices()}
    if voice not in known:
        raise OptionError(f"there is no voice {voice!r}: choose one of {', '.join(sorted(known))}.")
    samples = bytearray()

    def take(block: Any, count: int, events: int | None) -> int:
        if block and count > 0:
            samples.extend(ctypes.string_at(block, count * 2))
        return 0

    callback = _Callback(take)  # kept alive until the call is over
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(known[voice].identifier.encode())
    library.espeak_SetParameter(_RATE, pace, 0)
    encoded = text.replace("\0", " ").encode(errors="replace")
    library.espeak_Synth(encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return bytes(samples), rate


@lru_cache(maxsize=1)
def _voices() -> tuple[SpeechVoice, ...]:
    library, _ = _library()
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Entry))
    listed = library.espeak_ListVoices(None)
    found: dict[str, SpeechVoice] = {}
    index = 0
    while listed[index]:
        entry = listed[index].contents
        index += 1
        code = entry.languages[1:].split(b"\0")[0].decode()  # a byte of priority comes first
        identifier = (entry.identifier or b"").decode()
        if identifier.startswith("mb/") or code in _NO_DICTIONARY:  # mb/ needs MBROLA's own data
            continue
        found.setdefault(code, SpeechVoice(code, entry.name.decode().strip().replace("_", " "), identifier))
    return tuple(sorted(found.values(), key=lambda voice: voice.language))


@lru_cache(maxsize=1)
def _library() -> tuple[ctypes.CDLL, int]:
    """eSpeak NG, ready to speak, and its sample rate in Hz."""
    if not is_installed():
        raise OptionError(f"{MISSING}.")
    loader = import_module("espeakng_loader")
    trouble = "the voice for text is installed but does not start ({}): pip install --force-reinstall espeakng-loader."
    try:
        library = ctypes.CDLL(loader.get_library_path())
        data = str(loader.get_data_path())
    except (OSError, RuntimeError) as error:
        raise OptionError(trouble.format(error)) from error
    rate = library.espeak_Initialize(_RETRIEVAL, 0, os.fsencode(data), _DO_NOT_EXIT)
    if rate <= 0:
        raise OptionError(trouble.format(f"its data in {data} cannot be read"))
    return library, int(rate)
