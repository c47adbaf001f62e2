"""Descriptions of whole files, called in a child process for files that may be hostile (`pipelines/media_check.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from ..arrays import Image
from ..errors import MediaError
from .audio_file import read_waveform
from .footage import open_footage

_FIRST_FRAMES = 20  # that are decoded: by then a decoder holds as many as it ever will


def inspect_footage(
    path: str, max_pixels: int, max_seconds: float, poster: str | None = None, poster_side: int = 0
) -> dict[str, Any]:
    """Open an image or video and decode its first frames; return its width, height, frames and fps.

    `fps` is None for a still image.

    Args:
        path: the file.
        max_pixels: limit of width × height.
        max_seconds: limit of the duration.
        poster: JPEG file to write the first frame to.
        poster_side: longest side of the poster, px.

    Raises:
        MediaError: the file cannot be read or exceeds a limit.
    """
    with open_footage(Path(path), max_pixels=max_pixels, max_seconds=max_seconds) as footage:
        for k in range(min(_FIRST_FRAMES, len(footage))):
            footage[k]
        if poster is not None:
            write_jpeg(footage[0], Path(poster), poster_side)
        width, height = footage.size
        return {"width": width, "height": height, "frames": len(footage), "fps": footage.fps}


def inspect_voice(path: str, max_seconds: float, sound: str | None = None, sound_seconds: float = 0.0) -> float:
    """Read the sound of a file; return its duration in seconds. Raises MediaError as `inspect_footage` does.

    `sound` is a WAV file to write the first `sound_seconds` to.
    """
    waveform = read_waveform(Path(path), max_seconds=max_seconds)
    if sound is not None:
        waveform.first(sound_seconds).write_wav(Path(sound))
    return waveform.duration_seconds


def inspect_sound(path: str, max_seconds: float) -> float | None:
    """Read the sound of a video; return its duration in seconds, None where it has none that can be read."""
    try:
        return inspect_voice(path, max_seconds)
    except MediaError:
        return None


def write_jpeg(image: Image, path: Path, max_side: int) -> None:
    """Write an (H, W, 3) uint8 RGB image, scaled down if a side is longer than `max_side` px."""
    height, width, _ = image.shape
    scale = min(1.0, max_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
