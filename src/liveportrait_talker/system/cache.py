"""Location of the on-disk cache."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return $LPT_CACHE, else the user's cache folder, or a temporary folder where that is not writable."""
    if configured := os.environ.get("LPT_CACHE"):
        return Path(configured)
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # HOME is not set and the user is unknown
        base = Path(tempfile.gettempdir())
    if not os.access(next(p for p in (base, *base.parents) if p.exists()), os.W_OK):
        base = Path(tempfile.gettempdir())
    return base / "liveportrait-talker"
