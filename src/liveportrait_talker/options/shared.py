"""Options that several commands share, each defined once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system.devices import COMPILE, DEVICES, PRECISIONS
from .background import Background, parse_background
from .fields import option

RENDERERS = ("auto", "neural", "embedded", "hybrid")
ENCODERS = ("x264", "nvenc")


@dataclass(frozen=True)
class RendererOptions:
    """The renderer and the device of its networks."""

    renderer: str = option(
        "auto",
        "renderer of the face: neural (LivePortrait's networks), embedded (a face mesh, nothing to download), hybrid "
        "(the mesh, with mouths that the networks draw once a portrait) or auto (neural where its weights are "
        "installed)",
        "engines",
        choices=RENDERERS,
    )
    stitching: bool = option(
        True,
        "neural renderer: keep neck and shoulders in place",
        "networks",
        flag_help="neural renderer: let neck and shoulders move along",
        needs=("neural",),
    )
    background: str = option(
        "keep",
        "what is behind the person of a picture: keep (its own, which stands still), a colour (#rrggbb, green, white "
        "…), the file of a picture, or transparent (written as .webm, .mov or frames_%05d.png, an edit as .png or "
        ".webp)",
        "image",
        unit="keep|COLOR|FILE|transparent",
        needs=("embedded",),
        check=parse_background,
    )
    device: str = option(
        "auto",
        "device of the networks",
        "networks",
        choices=DEVICES,
        needs=("neural", "hybrid", "learned", "audio head"),
    )
    precision: str = option(
        "auto",
        "number format of the neural renderer; auto is fp16 on CUDA, bf16 on CPUs where it is faster, fp32 elsewhere",
        "networks",
        choices=PRECISIONS,
        needs=("neural", "hybrid"),
    )
    compile: str = option(
        "auto",
        "neural renderer: torch.compile for the networks on an NVIDIA GPU, half a minute once: on, off, or auto "
        "(where Triton is installed)",
        "networks",
        choices=COMPILE,
        needs=("neural", "hybrid"),
    )
    mouth_from: tuple[Path, ...] = option(
        (),
        "other pictures or videos of the person, the mouth open: the embedded renderer takes teeth and tongue from "
        "them",
        "mouth",
        unit="FILE",
        needs=("embedded",),
    )
    teeth_brightness: float = option(
        0.0,
        "embedded renderer: darker or brighter teeth than the picture suggests",
        "mouth",
        low=-1,
        high=1,
        needs=("embedded",),
    )

    @property
    def behind(self) -> Background | None:
        """What replaces the background; None: it is kept."""
        return parse_background(self.background)

    @property
    def background_file(self) -> Path | None:
        """The picture that replaces the background."""
        return None if self.behind is None else self.behind.file

    @property
    def is_transparent(self) -> bool:
        """Whether the output has no background."""
        return self.behind is not None and self.behind.is_transparent

    @property
    def renderer_files(self) -> tuple[Path, ...]:
        """Files that the renderer reads besides the source."""
        return (*self.mouth_from, *([] if self.background_file is None else [self.background_file]))


@dataclass(frozen=True)
class ImageOptions:
    """The face in the source, and limits of the source's size."""

    crop: bool = option(False, "write 512×512 pixels of head and shoulders instead of the full picture", "image")
    face: int | None = option(None, "number of the face, 1 = the largest (the default)", "image", low=1, high=20)
    max_size: int = option(
        2560,
        "longest side of the output; a larger source is scaled down",
        "output",
        low=64,
        high=8192,
        unit="px",
    )
    max_megapixels: float = option(
        120.0, "largest picture that is opened at all", "output", low=0.1, high=170, unit="Mpx"
    )

    @property
    def max_pixels(self) -> int:
        """Width × height of the largest image that is opened."""
        return int(self.max_megapixels * 1e6)


@dataclass(frozen=True)
class EncoderOptions:
    """How the output is encoded and labelled."""

    encoder: str = option(
        "x264", "encoder of the video: x264 or nvenc (H.264 on an NVIDIA GPU)", "output", choices=ENCODERS
    )
    quality: int = option(
        14, "H.264 quality (CRF): a lower number gives better quality and a larger file", "output", low=0, high=51
    )
    credentials: bool = option(
        True,
        "write signed content credentials (C2PA) into MP4, MOV, PNG, JPEG and WebP files; needs c2pa-python",
        "output",
        flag_help="write no content credentials (C2PA); the metadata still says that the file is AI-generated",
    )


def batch_size() -> Any:
    """Return the field for the number of frames that are rendered at once."""
    return option(
        None,
        "frames that the neural renderer renders at once; by default what suits the device",
        "networks",
        low=1,
        high=64,
        needs=("neural",),
    )


def fps(default: float | None, help: str) -> Any:
    """Return the field for the frame rate of the output."""
    return option(default, help, "output", low=1, high=120, unit="frames/s")


def max_seconds(help: str) -> Any:
    """Return the field for the longest input."""
    return option(3600.0, help, "output", low=0.2, high=86400, unit="s")
