"""Synthetic speech with exact phone times by flite and espeak-ng, for fitting the signal driver.

Needs the Debian packages `flite` (four English voices) and `espeak-ng` (27 languages, 22 voice variants). The text is
that of the Python manual (`pydoc_data.topics`); voices of other languages mispronounce it, which does not matter here.
"""

from __future__ import annotations

import ctypes
import random
import re
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from scipy.signal import resample_poly

RATE = 16_000

# Phones that look alike on the lips share a class; 0 is silence. flite uses ARPAbet, espeak-ng IPA.
ARPABET = (
    "pau", "p b m", "f v", "th dh", "t d n l", "s z", "sh zh ch jh", "k g ng hh", "r er", "w", "y iy ih",
    "eh ax ey", "ae", "aa ah ay aw", "ao ow oy", "uw uh",
)  # fmt: skip
IPA = (
    "", "pbmɓʙ", "fvɱʋɸβ", "θð", "tdnlrɾɖʈɳɭɫʎɲɽ", "sz", "ʃʒɕʑʂʐ", "kgɡŋhxɣχqɢʔɦħʕcɟɴ", "ɹɻʁʀɚɝɜ", "wʍɥ", "iɪjɨ",
    "eɛəɘ", "æ", "aɐɑʌɒä", "oɔɞɵøœɤ", "uʊʉɯyʏ",
)  # fmt: skip
CLASSES = len(ARPABET)
_OF_ARPABET = {phone: k for k, phones in enumerate(ARPABET) for phone in phones.split()}
_OF_IPA = {letter: k for k, letters in enumerate(IPA) for letter in letters}
_AFFRICATES = {"t͡ʃ": "ʃ", "tʃ": "ʃ", "dʒ": "ʃ", "tɕ": "ɕ", "ts": "s", "dz": "s"}

FLITE_VOICES = ("slt", "rms", "awb", "kal16")
LANGUAGES = (
    *("en-us", "en-gb", "de", "fr-fr", "es", "it", "pt", "nl", "sv", "pl", "ru", "fi", "cs", "tr", "hu", "el"),
    *("ro", "da", "nb", "id", "vi", "hi", "cmn", "ja", "ko", "ar"),
)
VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "klatt2", "klatt4"),
    *("Andrea", "Annie", "Denis", "Linda", "Michael", "Ed", "Gene", "Lee"),
)

Phones = list[tuple[float, int]]  # (end in seconds, class), in order from 0
Utterance = tuple[np.ndarray, np.ndarray]  # samples float32 at RATE; class of every 10 ms


def sentences() -> list[str]:
    """Return unique sentences of 25–220 characters, shuffled."""
    text = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z,.?! \n]", " ", " ".join(topics.values())))
    found = (part.strip() for part in re.split(r"[.?!]", text))
    unique = list(dict.fromkeys(part + "." for part in found if 25 < len(part) < 220))
    random.Random(0).shuffle(unique)
    return unique


def _resample(samples: np.ndarray, rate: int, phones: Phones) -> Utterance:
    """Resample to RATE, pad by 0.1 s and sample the phone classes every 10 ms."""
    ratio = Fraction(RATE, rate)
    samples = resample_poly(samples.astype(np.float32) / 32768, ratio.numerator, ratio.denominator)
    samples = np.pad(samples.astype(np.float32), RATE // 10)
    classes = np.zeros(1 + len(samples) // 160, np.int8)
    start = 0.0
    for end, phone in phones:
        classes[10 + round(start * 100) : 10 + round(end * 100)] = phone
        start = end
    return samples, classes


def flite(voice: str, text: str, *, stretch: float, pitch_hz: float) -> Utterance:
    """Speak `text` by a flite voice; stretch > 1 is slower."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        settings = ("--setf", f"duration_stretch={stretch}", "--setf", f"int_f0_target_mean={pitch_hz}")
        command = ("flite", "-voice", voice, "-psdur", *settings, "-t", text, "-o", str(path))
        timings = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        with wave.open(str(path)) as sound:
            samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
            rate = sound.getframerate()
    phones = [(float(end), _OF_ARPABET.get(phone, 0)) for phone, _, end in (w.partition(":") for w in timings.split())]
    return _resample(samples, rate, phones)


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h; its union holds the phoneme's name."""

    _fields_ = (
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_ms", ctypes.c_int), ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p), ("name", ctypes.c_char * 8),
    )  # fmt: skip


class Espeak:
    """The espeak-ng library, with callbacks for samples and phoneme times."""

    _PHONEME = 7  # espeakEVENT_PHONEME

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._rate = self._library.espeak_Initialize(2, 0, None, 3)  # synchronous; phoneme events, in IPA
        self._sound: list[np.ndarray] = []
        self._events: list[tuple[float, str]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = kind(self._collect)  # keep a reference: the library keeps only a pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
        if samples and count:
            self._sound.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:
            if events[index].type == self._PHONEME:
                self._events.append((events[index].audio_ms / 1000, events[index].name.decode("utf8", "ignore")))
            index += 1
        return 0

    def speak(self, voice: str, text: str, *, words_a_minute: int, pitch: int) -> Utterance:
        """Speak `text` by a voice such as "de+f3"; pitch 0…100."""
        self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(1, words_a_minute, 0)
        self._library.espeak_SetParameter(3, pitch, 0)
        self._sound.clear()
        self._events.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, 1, None, None)
        samples = np.concatenate(self._sound)
        starts = [start for start, _ in self._events]
        ends = [*starts[1:], len(samples) / self._rate]
        phones = [(starts[0], 0)] + [(end, ipa_class(name)) for end, (_, name) in zip(ends, self._events, strict=True)]
        return _resample(samples, self._rate, phones)


def ipa_class(name: str) -> int:
    """Return the class of an IPA phoneme: that of its first known letter."""
    for affricate, fricative in _AFFRICATES.items():
        name = name.replace(affricate, fricative)
    return next((_OF_IPA[letter] for letter in name if letter in _OF_IPA), 0)


def corpus(utterances: int, seed: int = 1) -> Iterator[Utterance]:
    """Yield utterances of about 7 s, half by flite, half by espeak-ng with random languages and voices."""
    rng = random.Random(seed)
    espeak, texts = Espeak(), sentences()
    for index in range(utterances):
        text = texts[index % len(texts)]
        if index % 2 == 0:
            voice = FLITE_VOICES[index // 2 % len(FLITE_VOICES)]
            yield flite(voice, text, stretch=rng.uniform(0.8, 1.35), pitch_hz=rng.uniform(90, 220))
        else:
            voice = rng.choice(LANGUAGES[:2] if rng.random() < 0.4 else LANGUAGES) + "+" + rng.choice(VARIANTS)
            yield espeak.speak(voice, text, words_a_minute=rng.randint(110, 200), pitch=rng.randint(25, 75))
