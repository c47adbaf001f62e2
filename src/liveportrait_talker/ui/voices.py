"""A voice as it is given on the page; without Gradio, which the worker process need not load."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.speech import DEFAULT_PACE, DEFAULT_VOICE, check_text
from ..errors import OptionError

Link = Callable[[Path, str], Path]
"""Links an upload into a job's folder under a name."""


@dataclass(frozen=True)
class GivenVoice:
    """A sound, or a text to speak in its place."""

    file: Path | None = None
    text: str = ""
    speech_voice: str = DEFAULT_VOICE
    pace: int = DEFAULT_PACE
    start_seconds: float = 0.0
    """When it begins in the video."""

    @classmethod
    def check(
        cls, voice: Any, text: str | None, speech_voice: str | None, pace: float | None, start_seconds: Any = 0.0
    ) -> GivenVoice:
        """Create a voice from the user's input. Raises OptionError if there is none, or the text cannot be spoken."""
        if not voice:
            if text is None:
                raise OptionError("there is no voice yet: choose a sound, record one, or type a text.")
            check_text(text)
        return cls(
            file=Path(voice) if voice else None,
            text="" if voice else text or "",
            speech_voice=speech_voice or DEFAULT_VOICE,
            pace=int(pace or DEFAULT_PACE),
            start_seconds=_seconds(start_seconds),
        )

    def linked(self, link: Link, role: str) -> GivenVoice:
        """Return the voice with a link to its file in a job's folder, named by its role."""
        return self if self.file is None else dataclasses.replace(self, file=link(self.file, role))


def _seconds(given: Any) -> float:
    """Return a start in seconds, 0 for none. Raises OptionError for what is no time from 0 on."""
    try:
        seconds = float(given or 0)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise OptionError(f"a voice starts at 0 seconds or later, not at {given}.")
    return seconds
