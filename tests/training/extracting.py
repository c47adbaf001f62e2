"""A small data set of talking clips in VoxCeleb2's layout, made with the embedded renderer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.media import VideoWriter
from sounds import syllables, write_wav

ROOT = Path(__file__).parents[2]


def talking_video(path: Path, *, seconds: float, seed: int) -> Path:
    """A 512 px talking head at 25 frames a second."""
    voice = write_wav(path.with_suffix(".wav"), syllables(seconds)) or path.with_suffix(".wav")
    options = TalkOptions(renderer="embedded", crop=True, seed=seed, max_size=256)
    Talker().save(ROOT / "examples" / "portrait.png", voice, path, options, overwrite=True)
    voice.unlink()
    return path


def faceless_video(path: Path, *, frames: int) -> Path:
    with VideoWriter(
        path, size=(160, 120), fps=25, voice=None, frame_count=frames, comment="", title="", overwrite=True
    ) as writer:
        for k in range(frames):
            writer.write(np.full((120, 160, 3), 40 + k, np.uint8))
    return path


def metadata_text(
    frames: int, *, first: int = 0, box: tuple[float, float, float, float] = (0.25, 0.2, 0.5, 0.6)
) -> str:
    """VoxCeleb2's text file of one utterance."""
    head = "Identity  : \tid00012\nReference : \tabc\nOffset    : \t0\nFV Conf   : \t17.3\t(1)\nASD Conf  : \t5.0\n\n"
    rows = "".join(
        f"{first + k:06d} \t{box[0]:.3f} \t{box[1]:.3f} \t{box[2]:.3f} \t{box[3]:.3f} \n" for k in range(frames)
    )
    return head + "FRAME \tX \tY \tW \tH \n" + rows
