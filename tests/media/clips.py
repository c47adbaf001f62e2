"""Small video and audio files, and a comparison of colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

BITS = 8


def number_image(number: int, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """Return an image that encodes `number` as eight black or white stripes, robust to compression."""
    width, height = size
    bits = (number >> np.arange(BITS)) & 1
    row = np.repeat(bits * 200 + 25, -(-width // BITS))[:width]
    return np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.uint8)


def number_in(image: np.ndarray) -> int:
    """Return the number that `number_image` encoded."""
    width = image.shape[1]
    centres = (np.arange(BITS) + 0.5) * -(-width // BITS)
    bits = image[image.shape[0] // 2, centres.astype(int)].mean(axis=1) > 128
    return int((bits << np.arange(BITS)).sum())


def write_clip(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    fps: Fraction | int = 25,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """Encode `images`; `times` are time stamps in `time_base` for a variable rate."""
    muxing = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=muxing) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if time_base is not None:
            stream.codec_context.time_base = time_base
        for k, image in enumerate(images):
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.time_base = time_base or 1 / Fraction(fps)
            frame.pts = k if times is None else times[k]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(
    path: Path, samples: np.ndarray, sample_rate: int, *, codec: str = "pcm_s16le", layout: str = "mono"
) -> Path:
    """Encode float samples (channels, N)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=sample_rate, layout=layout)
        format_name = stream.codec_context.format.name if stream.codec_context.format else "s16"
        resampler = av.AudioResampler(format=format_name, layout=layout, rate=sample_rate)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
        for converted in resampler.resample(frame):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


def tone(seconds: float, sample_rate: int, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    """Return a sine (N,)."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)


def colour_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean CIE76 ΔE of two sRGB images."""
    lab = [cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for image in (one, other)]
    return float(np.linalg.norm(lab[0] - lab[1], axis=-1).mean())
