"""Probability that the lips are closed by P, B or M, on the grid of 25 frames/s: by the network, or by hama.

The package hama (extra `closures`) recognises phones better than the driver's network.
Source: docs/method/signal_driver.md, Closures.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from ...arrays import Floats
from . import features

BILABIAL = 1  # P, B and M among the phone classes of the network

_TOKENS = ("p", "pʰ", "p͈", "b", "m")  # in hama's vocabulary of Korean, English and other phones
_FRAME = features.SAMPLE_RATE // 50  # samples: hama has 50 frames/s, two in a step of the grid
_DELAY_FRAMES = 2  # it tells a sound 50 ms after the middle of the closure: in frame 2 or 3 after it
_PIECE, _CONTEXT = 400, 50  # frames taken at once (hama ignores what follows 30 s), and additional ones on each side
_LEVEL_DB = -12.0  # of the voice that hama hears, so that the gain of a recording does not matter


def bilabial_probability(phone_logits: Floats) -> Floats:
    """Return the probability (T,) of P, B or M, from the network's logits (T, classes)."""
    odds = np.exp(phone_logits - phone_logits.max(axis=1, keepdims=True))
    return np.asarray(odds[:, BILABIAL] / odds.sum(axis=1))


class PhoneRecogniser:
    """The phone recogniser of the package hama.

    Raises:
        ImportError, RuntimeError: hama is not installed, or does not run on this machine.
    """

    def __init__(self) -> None:
        from hama import ASRModel

        model = ASRModel()
        self._session = model.session
        self._bilabials = [model.decoder_tokens.index(token) for token in _TOKENS]

    def bilabial_probability(self, samples: Floats, level_db: float, count: int) -> Floats:
        """Return the probability (count,) of P, B or M in a voice.

        Args:
            samples: finite, at 16 kHz.
            level_db: see `features.voice_level_db`.
            count: frames of the grid.
        """
        gain = np.float32(10.0 ** ((_LEVEL_DB - level_db) / 20.0))
        heard = np.zeros(2 * count + _DELAY_FRAMES, np.float32)
        for start in range(0, len(heard), _PIECE):
            first = max(start - _CONTEXT, 0)
            piece = samples[first * _FRAME : (start + _PIECE + _CONTEXT) * _FRAME] * gain
            here = self._listen(piece)[start - first :][: len(heard) - start][:_PIECE]
            heard[start : start + len(here)] = here
        return np.asarray(heard[_DELAY_FRAMES:].reshape(count, 2).max(axis=1))

    def _listen(self, samples: Floats) -> Floats:
        """Return the probability of P, B or M (frames,) at 50 Hz."""
        waveform = {"waveform": samples[None], "waveform_lengths": np.array([len(samples)])}
        log_probability, count = self._session.run(["log_probs", "out_lengths"], waveform)
        return np.asarray(np.exp(log_probability[0, : int(count[0])][:, self._bilabials]).sum(axis=1))


def find_recogniser() -> PhoneRecogniser | str:
    """Return the phone recogniser, or why hama cannot be used here, as part of a sentence."""
    if find_spec("hama") is None:
        return "hama is not installed (pip install 'liveportrait-talker[closures]')"
    try:
        return PhoneRecogniser()
    except (ImportError, RuntimeError, ValueError) as error:  # another version, or another machine than its own four
        return f"hama does not run here: {error}"
