"""Development media and measuring tools beside the checkout; tests that need them are skipped where they are missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

import mediapipe_stand_in

SHARED = Path(__file__).parents[2] / "shared"
DATA = SHARED / "data"
needs_shared = pytest.mark.skipif(not DATA.is_dir(), reason="needs the development media in ../shared")


def load_tool(name: str) -> Any:
    """Import a measuring tool: `face_tracks` or `sync_score`."""
    if "mediapipe" not in sys.modules and importlib.util.find_spec("mediapipe") is None:
        mediapipe_stand_in.install()
    folder = str(SHARED / "tools")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def portrait(stem: str) -> Path:
    """Return the file of a portrait."""
    return next((DATA / "portraits").glob(f"{stem}.*"))
