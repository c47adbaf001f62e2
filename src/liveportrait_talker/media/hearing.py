"""Whether a file can be heard."""

from __future__ import annotations

from pathlib import Path

from ..errors import MediaError
from .sound import SoundFile


def has_sound(path: Path) -> bool:
    """Whether `path` holds sound that can be read."""
    try:
        with SoundFile(path):
            return True
    except MediaError:
        return False
