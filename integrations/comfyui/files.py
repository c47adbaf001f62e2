"""ComfyUI's values → files, and back: our API reads and writes files, so that long media don't fill the memory."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl
from PIL import Image as Picture

from liveportrait_talker import MediaError, check_media
from liveportrait_talker.arrays import Image
from liveportrait_talker.media import open_footage

from .sockets import Portrait

_SAMPLES_AT_ONCE = 1 << 20
_DEFAULT_FPS = 25.0


def temp_folder() -> str:
    """Return ComfyUI's temporary folder, which exists then."""
    folder: str = folder_paths.get_temp_directory()
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


def result_file(suffix: str) -> Path:
    """Return a new name in ComfyUI's temporary folder, which ComfyUI empties when it starts and ends."""
    return Path(temp_folder(), f"talker_{uuid4().hex}{suffix}")


def source_file(source: Any, folder: Path, fps: float | None = None) -> Path:
    """Return the file of a portrait, VIDEO or IMAGE; what is in memory is written to `folder`.

    Args:
        source: a Portrait, VIDEO, or IMAGE (B, H, W, 3 or 4) float 0…1; several are the frames of a video.
        folder: for files that are needed until the node is done; made where it is missing.
        fps: frame rate of an IMAGE batch, 25 by default.
    """
    if isinstance(source, Portrait):
        return source.path
    folder.mkdir(exist_ok=True)
    if isinstance(source, Input.Video):
        return _video_file(source, folder)
    if len(source) == 1:
        path = folder / "picture.png"
        Picture.fromarray(to_bytes(source[0])).save(path, compress_level=1)
        return path
    return _write_frames(source, folder / "frames.mkv", fps or _DEFAULT_FPS)


def sound_file(audio: Any, folder: Path, name: str = "voice") -> Path:
    """Write an AUDIO {waveform (B, C, T), sample_rate} as a WAV file and return it; of a batch, the first sound.

    It is written in pieces of a million samples: 10 minutes need no more memory than they have already.

    Raises:
        MediaError: there is no sound.
    """
    if audio is None or audio["waveform"].numel() == 0:
        raise MediaError("the voice is empty: connect a node with a sound.")
    waveform, rate = audio["waveform"][0], int(audio["sample_rate"])
    channels, samples = waveform.shape
    path = folder / f"{name}.wav"
    with path.open("wb") as file:
        file.write(_wav_header(channels, samples, rate))
        for piece in waveform.split(_SAMPLES_AT_ONCE, dim=1):
            file.write(piece.T.to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False).tobytes())
    return path


def read_picture(path: Path) -> tuple[Image, Image | None]:
    """Return a picture, upright (H, W, 3) uint8, and its opacity (H, W) uint8 where it has one.

    Raises:
        MediaError: it cannot be read, or is a video.
    """
    with open_footage(path) as footage:
        if not footage.is_still:
            raise MediaError(f"{path.name} is a video: load it with Load Video.")
        return footage[0], footage.opacity


def to_bytes(image: torch.Tensor) -> Image:
    """Return an image (H, W, C) of floats 0…1 as uint8; bytes that were divided by 255 come back exactly."""
    pixels: Image = (image.to("cpu", torch.float32) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels


def to_image(images: list[Image]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return IMAGE (B, H, W, 3) and MASK (B, H, W), float32 0…1; the list of uint8 RGB or RGBA images is emptied.

    The mask is 1 where the person is, everywhere in images without transparency.
    """
    height, width, channels = images[0].shape
    pictures, mask = torch.empty(len(images), height, width, 3), torch.ones(len(images), height, width)
    for k in range(len(images)):
        image = torch.from_numpy(np.array(images[k]))  # a copy: torch wants it writable
        images[k] = None  # type: ignore[call-overload]  # bytes and floats of all frames need not be there together
        torch.div(image[..., :3], 255, out=pictures[k])
        if channels == 4:
            torch.div(image[..., 3], 255, out=mask[k])
    images.clear()
    return pictures, mask


def _video_file(video: Any, folder: Path) -> Path:
    """Return the file behind a VIDEO where it is shown whole, else a copy of what is shown."""
    if isinstance(video, InputImpl.VideoFromFile) and isinstance(behind := video.get_stream_source(), str):
        check_media(sources=behind)  # in a child process: a hostile file must not stop ComfyUI
        is_trimmed = hasattr(video, "get_active_trim_window") and any(video.get_active_trim_window())
        if not is_trimmed and _size(behind) == tuple(video.get_dimensions()):
            return Path(behind)
    path = folder / "video.mp4"
    video.save_to(str(path))
    return path


def _size(path: str) -> tuple[int, int]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height


def _write_frames(images: torch.Tensor, path: Path, fps: float) -> Path:
    """Write an IMAGE batch without loss (FFV1)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(fps).limit_denominator(1001))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = "bgr0"
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(to_bytes(image)[..., :3]), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode(None))
    return path


def _wav_header(channels: int, samples: int, rate: int) -> bytes:
    """Return the header of a WAV file of 32-bit floats (format 3)."""
    frame = 4 * channels
    size = min(frame * samples, 0xFFFFFFFF - 36)  # beyond 4 GB readers go on to the end of the file
    chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, channels, rate, frame * rate, frame, 32)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + chunk + struct.pack("<4sI", b"data", size)
