"""Animated GIF, PNG and WebP: images with the time that each is shown, through Pillow."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ..arrays import Image as ImageArray
from ..errors import MediaError
from .limits import Limits
from .still import on_backdrop

log = logging.getLogger(__name__)

_FORMATS = ("GIF", "PNG", "WEBP")
_MAX_PIXELS = 400_000_000  # of all images together, which are held in memory
_UNSTATED_MS, _USUAL_MS = 10.0, 100.0  # browsers show an image that states no more than the first for the second


def read_animation(path: Path, limits: Limits) -> tuple[list[ImageArray], list[float]] | None:
    """All images (H, W, 3) uint8 of an animation and how long each is shown, in seconds; None for anything else.

    One that is cut short gives what can be read. Raises MediaError: too small, too many pixels in all.
    """
    images: list[ImageArray] = []
    seconds: list[float] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as file:
                count = getattr(file, "n_frames", 1)
                if count < 2:
                    return None
                limits.check_size(path.name, *file.size)
                if count * file.width * file.height > _MAX_PIXELS:
                    raise MediaError(f"{path.name} is too long for an animated picture; convert it to MP4")
                size = limits.fit(path.name, *file.size)
                for number in range(count):
                    file.seek(number)
                    shown = file.convert("RGBA")
                    shown = shown if shown.size == size else shown.resize(size)
                    images.append(np.array(on_backdrop(shown).convert("RGB")))
                    stated = float(file.info.get("duration") or 0)
                    seconds.append((stated if stated > _UNSTATED_MS else _USUAL_MS) / 1000)
    except (MediaError, MemoryError):
        raise
    except Exception:  # a damaged file makes Pillow's decoders raise almost anything
        if len(images) < 2:
            return None  # `read_still` says what it is, or what is wrong with it
        log.warning("%s is damaged; the %d pictures of it that can be read are used", path.name, len(images))
    return images, seconds
