"""Small files that claim or unpack to far more than they hold, made from scratch."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from pathlib import Path

import av
import numpy as np
from PIL import Image


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _ints(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def write_mp4(
    path: Path,
    *,
    edits: int = 0,
    samples: int = 100,
    sample_size: int = 4000,
    exif: Image.Exif | None = None,
    disguise: str = "",
) -> Path:
    """Write a motion JPEG film of one picture; with `edits`, each plays the whole film again.

    Samples overlap: each is `sample_size` bytes and begins with the picture, or they follow each other if it is 1.
    `disguise` is `first box`, `bare list` or `sound`.
    """
    picture = io.BytesIO()
    Image.new("RGB", (160, 160), (90, 120, 150)).save(picture, "JPEG", exif=exif or Image.Exif())
    data = picture.getvalue().ljust(max(4000, samples if sample_size == 1 else 0), b"\0")
    start = 32
    matrix = _ints(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    tick, duration = 1000, samples
    entry = _box(
        b"jpeg",
        bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", 160, 160),
        _ints(0x480000, 0x480000, 0) + struct.pack(">H", 1) + bytes(32) + struct.pack(">Hh", 24, -1),
    )
    places = [start] * (1 if sample_size == 1 else samples)
    table = _box(
        b"stbl",
        _box(b"stsd", _ints(0, 1), entry),
        _box(b"stts", _ints(0, 1, samples, 1)),
        _box(b"stsc", _ints(0, 1, 1, samples // len(places), 1)),
        _box(b"stsz", _ints(0, sample_size, samples)),
        _box(b"stco", _ints(0, len(places), *places)),
    )
    media = _box(
        b"mdia",
        _box(b"mdhd", _ints(0, 0, 0, tick, duration, 0)),
        _box(b"hdlr", _ints(0, 0), b"soun" if disguise == "sound" else b"vide", bytes(13)),
        _box(b"minf", _box(b"vmhd", _ints(1, 0, 0)), table),
    )
    listed = b"".join(_ints(duration, 0, 0x10000) for _ in range(edits))
    edit_box = _box(b"elst", _ints(0, edits), listed)
    edit_box = edit_box if disguise == "bare list" else _box(b"edts", edit_box) if edits else b""
    track = _box(
        b"trak",
        _box(b"tkhd", _ints(7, 0, 0, 1, 0, duration * max(1, edits)), bytes(16), matrix, _ints(160 << 16, 160 << 16)),
        edit_box,
        media,
    )
    head = _box(
        b"mvhd", _ints(0, 0, 0, tick, duration * max(1, edits), 0x10000), bytes(12), matrix, bytes(24), _ints(2)
    )
    path.write_bytes(
        (_box(b"uuid", bytes(16)) if disguise == "first box" else b"")
        + _box(b"ftyp", b"isom", _ints(512), b"isomiso2")
        + _box(b"mdat", data)
        + _box(b"moov", head, track)
    )
    return path


def write_webp(path: Path, width: int = 16383, height: int = 16383) -> Path:
    """Write the header of a lossless WebP picture, and nothing else."""
    bits = (width - 1) | (height - 1) << 14
    chunk = b"VP8L" + struct.pack("<I", 14) + b"\x2f" + struct.pack("<I", bits) + bytes(9)
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk)
    return path


def write_png(path: Path, width: int, height: int, *, frames: int = 1) -> Path:
    """Write a black PNG picture; with several frames, an animation."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    row, packed = bytes(1 + (width + 7) // 8), []
    for _ in range(height):
        packed.append(packer.compress(row))
    pixels = b"".join([*packed, packer.flush()])
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))]
    if frames > 1:
        parts.append(chunk(b"acTL", _ints(frames, 0)))
    for k in range(frames):
        if frames > 1:
            control = struct.pack(">IIIIIHHBB", max(0, 2 * k - 1), width, height, 0, 0, 1, 25, 0, 0)
            parts.append(chunk(b"fcTL", control))
        parts.append(chunk(b"IDAT", pixels) if k == 0 else chunk(b"fdAT", _ints(2 * k) + pixels))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))
    return path


def write_tiff(path: Path, side: int = 8000) -> Path:
    """Write a picture of 32-bit integers."""
    Image.new("I", (side, side), 70_000).save(path, "TIFF", compression="tiff_adobe_deflate")
    return path


def write_growing_h264(path: Path, sizes: tuple[int, ...] = (160, 7680)) -> Path:
    """Write a raw H.264 stream whose frames grow in the middle."""
    with path.open("wb") as file:
        for side in sizes:
            packed = io.BytesIO()
            with av.open(packed, "w", format="h264") as container:
                stream = container.add_stream(
                    "libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency"}
                )
                stream.width = stream.height = side
                frame = av.VideoFrame(side, side, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                for _ in range(3):
                    frame.pts = None
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            file.write(packed.getvalue())
    return path


def write_endless_aac(path: Path, frames: int = 120_000) -> Path:
    """Write silence in six channels at 96 kHz, which takes long to decode: one ADTS frame many times."""
    packed = io.BytesIO()
    with av.open(packed, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=96_000)
        stream.layout = "5.1"
        for k in range(6):
            frame = av.AudioFrame.from_ndarray(np.zeros((6, 1024), np.float32), format="fltp", layout="5.1")
            frame.sample_rate, frame.pts = 96_000, k * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = packed.getvalue()
    last = data[data.rindex(data[:2]) :]
    path.write_bytes(data + last * frames)
    return path


def write_voice(path: Path, seconds: float = 1.0) -> Path:
    """Write a harmless voice."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        tone = 3000 * np.sin(np.arange(int(16_000 * seconds)) / 9)
        file.writeframes(tone.astype("<i2").tobytes())
    return path
