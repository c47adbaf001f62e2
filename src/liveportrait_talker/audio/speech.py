"""Text-to-speech with eSpeak NG, a small formant synthesiser: intelligible, but robotic.

The library and its data come with the package `espeakng-loader` (extra `speech`); nothing is downloaded at run time.
eSpeak NG is optional because its licence is GPL-3.0-or-later.
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
"""Range of the pace, words per minute."""
MISSING_EXTRA = "text-to-speech is not installed: pip install 'liveportrait-talker[speech]'"

_RETRIEVAL = 1  # AUDIO_OUTPUT_RETRIEVAL: samples go to the callback, no audio device is opened
_DO_NOT_EXIT = 0x8000  # without it the library exits the process if its data is missing
_UTF8 = 1
_RATE, _POSITION_CHARACTER = 1, 1
_NO_DICTIONARY = ("fo", "kaa", "xex")  # espeakng-loader 0.2.4 lists them, but has no dictionaries for them
_LOCK = threading.Lock()  # the library has one state per process
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class SpeechVoice:
    """A voice for `speak`: its code (`en-gb`), the name of its language and eSpeak NG's identifier."""

    code: str
    language: str
    identifier: str


class _Entry(ctypes.Structure):
    """The C struct espeak_VOICE."""

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
    """Return whether the extra `speech` is installed."""
    return find_spec("espeakng_loader") is not None


def list_voices() -> tuple[SpeechVoice, ...]:
    """Return all voices, sorted by language. Raises OptionError if the extra is missing."""
    with _LOCK:
        return _voices()


def speak(text: str, path: Path, *, voice: str = DEFAULT_VOICE, pace: int = DEFAULT_PACE) -> Path:
    """Synthesise `text` to a WAV file (mono, 16 bit, 22 050 Hz) and return its path.

    Args:
        text: up to MAX_CHARACTERS characters.
        path: the WAV file; an existing file is replaced.
        voice: the code of one of `list_voices()`.
        pace: words per minute, SLOWEST … FASTEST.

    Raises:
        OptionError: the extra is missing, or the text, voice or pace is invalid.
        MediaError: the file cannot be written.
    """
    check_text(text)
    if not SLOWEST <= pace <= FASTEST:
        raise OptionError(f"a pace of {pace} words per minute is out of range ({SLOWEST} … {FASTEST}).")
    with _LOCK:
        samples, rate = _synthesise(text.strip(), voice, pace)
    if len(samples) < rate // 5 * 2:  # 0.2 s of 16-bit samples
        raise OptionError("the text contains nothing to speak: write a sentence.")
    try:
        with path.open("wb") as file, wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(rate)
            wav.writeframes(samples)
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another location") from error
    return path


def check_text(text: str) -> None:
    """Raise OptionError if `text` is empty or too long."""
    if not text.strip():
        raise OptionError("the text is empty: write a sentence.")
    if len(text) > MAX_CHARACTERS:
        raise OptionError(f"the text has {len(text):,} characters, the limit is {MAX_CHARACTERS:,}: shorten it.")


def _synthesise(text: str, voice: str, pace: int) -> tuple[bytes, int]:
    library, rate = _load_library()
    known = {entry.code: entry for entry in _voices()}
    if voice not in known:
        raise OptionError(f"unknown voice {voice!r}: choose one of {', '.join(sorted(known))}.")
    samples = bytearray()

    def append(block: Any, count: int, events: int | None) -> int:
        if block and count > 0:
            samples.extend(ctypes.string_at(block, count * 2))
        return 0

    callback = _Callback(append)  # must stay alive until the call returns
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(known[voice].identifier.encode())
    library.espeak_SetParameter(_RATE, pace, 0)
    encoded = text.replace("\0", " ").encode(errors="replace")
    library.espeak_Synth(encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return bytes(samples), rate


@lru_cache(maxsize=1)
def _voices() -> tuple[SpeechVoice, ...]:
    library, _ = _load_library()
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Entry))
    listed = library.espeak_ListVoices(None)
    found: dict[str, SpeechVoice] = {}
    index = 0
    while listed[index]:
        entry = listed[index].contents
        index += 1
        code = entry.languages[1:].split(b"\0")[0].decode()  # the first byte is a priority
        identifier = (entry.identifier or b"").decode()
        if identifier.startswith("mb/") or code in _NO_DICTIONARY:  # mb/: needs data of MBROLA
            continue
        found.setdefault(code, SpeechVoice(code, entry.name.decode().strip().replace("_", " "), identifier))
    return tuple(sorted(found.values(), key=lambda voice: voice.language))


@lru_cache(maxsize=1)
def _load_library() -> tuple[ctypes.CDLL, int]:
    """Load and initialise eSpeak NG; return it and its sample rate in Hz."""
    if not is_installed():
        raise OptionError(f"{MISSING_EXTRA}.")
    loader = import_module("espeakng_loader")
    message = "text-to-speech is installed but cannot start ({}): pip install --force-reinstall espeakng-loader."
    try:
        library = ctypes.CDLL(loader.get_library_path())
        data = str(loader.get_data_path())
    except (OSError, RuntimeError) as error:
        raise OptionError(message.format(error)) from error
    rate = library.espeak_Initialize(_RETRIEVAL, 0, os.fsencode(data), _DO_NOT_EXIT)
    if rate <= 0:
        raise OptionError(message.format(f"its data in {data} cannot be read"))
    return library, int(rate)
