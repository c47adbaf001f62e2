"""Fixtures of the media room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clips import number_picture, write_clip

BAD_FILES = Path(__file__).parents[3] / "shared" / "data" / "bad"


@pytest.fixture(scope="session")
def numbered_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a clip whose frame k shows the number k; the same request gives the same file."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[Any, Path] = {}

    def make(name: str, count: int = 60, **how: Any) -> Path:
        if name not in made:
            made[name] = write_clip(folder / name, (number_picture(k) for k in range(count)), **how)
        return made[name]

    return make


@pytest.fixture
def bad_file() -> Callable[[str], Path]:
    """The path of one of the shared bad files."""

    def find(name: str) -> Path:
        if not BAD_FILES.is_dir():
            pytest.skip("the shared development data is not beside this checkout")
        return BAD_FILES / name

    return find
