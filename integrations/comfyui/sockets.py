"""Types of the sockets that only these nodes have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comfy_api.latest import io

CATEGORY = "LivePortraitTalker"

PortraitType = io.Custom("TALKER_PORTRAIT")
MotionType = io.Custom("TALKER_MOTION")
SlidersType = io.Custom("TALKER_SLIDERS")
"""Options of a talking video → values, as the sliders of Expression say."""
SOURCES = [PortraitType, io.Image, io.Video]
"""Types of a source: a portrait's file, a picture or a batch of frames, a video."""


@dataclass(frozen=True)
class Portrait:
    """The file of a picture, which keeps what an IMAGE lacks: its orientation, colour profile and transparency."""

    path: Path
