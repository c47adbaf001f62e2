"""Animated GIF, PNG and WebP files, read with Pillow."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np

from ..arrays import Image as ImageArray
from ..errors import MediaError
from .limits import Limits
from .still import flatten_alpha, open_image

log = logging.getLogger(__name__)

_FORMATS = ("GIF", "PNG", "WEBP")
# Of all frames together, which take about 20 ns a pixel to decode and 3 bytes a pixel to keep.
_MAX_DECODED_PIXELS, _MAX_KEPT_PIXELS = 150_000_000, 150_000_000
_MIN_MS, _DEFAULT_MS = 10.0, 100.0  # browsers replace durations of up to the first value by the second


def read_animation(path: Path, limits: Limits) -> tuple[list[ImageArray], list[float]] | None:
    """Return the frames (H, W, 3) uint8 of an animation and their durations in seconds; None for other files.

    A truncated file gives the frames that can be read. Raises MediaError: too small, or too many pixels in total.
    """
    images: list[ImageArray] = []
    durations: list[float] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(path, path.name, _FORMATS) as file:
                count = getattr(file, "n_frames", 1)
                if count < 2:
                    return None
                limits.check_size(path.name, *file.size)
                size = limits.fit(path.name, *file.size)
                decoded, kept = count * file.width * file.height, count * size[0] * size[1]
                if decoded > _MAX_DECODED_PIXELS or kept > _MAX_KEPT_PIXELS:
                    raise MediaError(f"{path.name} is too long for an animated picture; convert it to MP4")
                for number in range(count):
                    file.seek(number)
                    frame = file.convert("RGBA")
                    frame = frame if frame.size == size else frame.resize(size)
                    images.append(np.array(flatten_alpha(frame).convert("RGB")))
                    stated_ms = float(file.info.get("duration") or 0)
                    durations.append((stated_ms if stated_ms > _MIN_MS else _DEFAULT_MS) / 1000)
    except (MediaError, MemoryError):
        raise
    except Exception:  # Pillow's decoders raise almost anything on damaged files
        if len(images) < 2:
            return None  # `read_still` decides, or reports the error
        log.warning("%s is damaged; the %d frames that can be read are used", path.name, len(images))
    return images, durations
