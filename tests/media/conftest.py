"""Fixtures of the media tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clips import number_image, write_clip

BAD_FILES = Path(__file__).parents[3] / "shared" / "data" / "bad"


@pytest.fixture(scope="session")
def numbered_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a clip whose frame k encodes the number k, once per name."""
    folder = tmp_path_factory.mktemp("clips")
    clips: dict[Any, Path] = {}

    def make(name: str, count: int = 60, **how: Any) -> Path:
        if name not in clips:
            clips[name] = write_clip(folder / name, (number_image(k) for k in range(count)), **how)
        return clips[name]

    return make


@pytest.fixture
def bad_file() -> Callable[[str], Path]:
    """Return a function from the name to the path of a shared bad file."""

    def find(name: str) -> Path:
        if not BAD_FILES.is_dir():
            pytest.skip("the shared development data is missing")
        return BAD_FILES / name

    return find
