"""Random streams: one for each channel of the motion, so that switching one off leaves the others unchanged."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from ..arrays import Image

HEAD, BLINK, GAZE, BREATH, LISTENING, BROWS = range(6)


def random_streams(seed: int, picture: Image) -> Callable[[int], np.random.Generator]:
    """Return the function from a channel to its generator, in its first state.

    The picture is mixed in, so that two portraits don't blink in unison.
    """
    digest = zlib.crc32(picture.tobytes())
    return lambda channel: np.random.default_rng([seed, digest, channel])
