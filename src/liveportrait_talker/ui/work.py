"""What the worker does: each job a thin call of the library. Runs in the worker's process."""

from __future__ import annotations

import dataclasses
import wave
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..progress import OnProgress
from .worker import Order

if TYPE_CHECKING:
    from ..pipelines.animate import Animator
    from ..pipelines.edit import Editor
    from ..pipelines.talk import Talker

PREVIEW_SECONDS = 2.0
PREVIEW_SIDE = 640
"""Longest side of a preview, px."""
VIDEO, PICTURE, MOTION = "result.mp4", "result.png", "motion.npz"
"""What a job makes in its folder."""


def perform(order: Order, tell: OnProgress) -> dict[str, Any]:
    """Do an order. Raises TalkerError for what the user can mend."""
    return _KINDS[order.kind](order, tell)


def _warm(order: Order, tell: OnProgress) -> dict[str, Any]:
    """Load what every job needs."""
    from ..render.embedded import renderer  # noqa: F401  (compiled on its first use, then kept)

    _talker()
    return {}


def _talk(order: Order, tell: OnProgress) -> dict[str, Any]:
    """A talking video. Details: source, voice (or text, speech_voice, pace), options, preview."""
    given, options = order.details, order.details["options"]
    voice = given["voice"]
    if given.get("text"):
        from ..audio.speech import speak

        tell("speaking the text", 0, 1)
        voice = speak(given["text"], order.folder / "text.wav", voice=given["speech_voice"], pace=given["pace"])
    if given.get("preview"):
        voice = first_seconds(voice, order.folder / "start.wav", options.max_seconds)
        options = dataclasses.replace(options, max_size=min(options.max_size, PREVIEW_SIDE))
    tell("opening", 0, 1)
    report = _talker().save(given["source"], voice, order.folder / VIDEO, options, on_progress=tell)
    return report.as_json() | {"made": VIDEO}


def _animate(order: Order, tell: OnProgress) -> dict[str, Any]:
    """A face that follows another. Details: source, driving, options, keep_motion."""
    from ..media import open_footage
    from ..pipelines.driving_clip import open_driving

    given, options = order.details, order.details["options"]
    tell("opening", 0, 1)
    pixels = int(options.max_megapixels * 1e6)
    with (
        open_driving(given["driving"], max_pixels=pixels, max_seconds=options.max_seconds) as clip,
        open_footage(given["source"], max_pixels=pixels, max_seconds=options.max_seconds) as footage,
    ):
        made = PICTURE if footage.is_still and len(clip) == 1 else VIDEO
    report = _animator().save(
        given["source"],
        given["driving"],
        order.folder / made,
        options,
        save_template=order.folder / MOTION if given["keep_motion"] else None,
        on_progress=tell,
    )
    return report.as_json() | {"made": made} | ({"extra": MOTION} if given["keep_motion"] else {})


def _edit(order: Order, tell: OnProgress) -> dict[str, Any]:
    """A portrait with another expression, or a clip of it. Details: portrait, edit, setup, keyframes."""
    given = order.details
    made = PICTURE if given["keyframes"] is None else VIDEO
    tell("opening", 0, 1)
    report = _editor().save(
        given["portrait"],
        order.folder / made,
        given["edit"],
        setup=given["setup"],
        keyframes=given["keyframes"],
        on_progress=tell,
    )
    return report.as_json() | {"made": made}


def _download(order: Order, tell: OnProgress) -> dict[str, Any]:
    """Weights by name. Details: names."""
    from ..weights.download import download_and_convert

    files = [file.name for file, _ in download_and_convert(order.details["names"], on_progress=tell)]
    return {"downloaded": files}


def first_seconds(voice: Path, path: Path, max_seconds: float) -> Path:
    """Write the first PREVIEW_SECONDS of a voice to a WAV file. Raises MediaError where it cannot be read."""
    from ..media import read_waveform

    heard = read_waveform(voice, max_seconds=max_seconds)
    samples = heard.samples[: int(PREVIEW_SECONDS * heard.sample_rate)]
    with path.open("wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(heard.sample_rate)
        sound.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@lru_cache(maxsize=1)
def _talker() -> Talker:
    """Kept, so that networks stay loaded."""
    from ..pipelines.talk import Talker

    return Talker()


@lru_cache(maxsize=1)
def _animator() -> Animator:
    from ..pipelines.animate import Animator

    return Animator()


@lru_cache(maxsize=1)
def _editor() -> Editor:
    from ..pipelines.edit import Editor

    return Editor()


_KINDS = {"warm": _warm, "talk": _talk, "animate": _animate, "edit": _edit, "models": _download}
