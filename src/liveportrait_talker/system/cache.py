"""Where work that can be done again is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """$LPT_CACHE, else the user's cache folder, else a folder among the temporary files where there is no home."""
    named = os.environ.get("LPT_CACHE")
    if named:
        return Path(named)
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and an unknown user
        base = Path(tempfile.gettempdir())
    if not os.access(next(p for p in (base, *base.parents) if p.exists()), os.W_OK):
        base = Path(tempfile.gettempdir())
    return base / "liveportrait-talker"
