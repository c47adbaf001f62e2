"""Random streams: one for each channel of the motion, so that switching one off leaves the others unchanged."""

from __future__ import annotations

import zlib

import numpy as np

from ..arrays import Image

HEAD, BLINK, GAZE, BREATH = range(4)


def random_stream(seed: int, picture: Image, channel: int) -> np.random.Generator:
    """Return the generator of a channel. The picture is mixed in, so that two portraits don't blink in unison."""
    return np.random.default_rng([seed, zlib.crc32(picture.tobytes()), channel])
