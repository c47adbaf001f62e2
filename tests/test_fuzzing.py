"""A little of `scripts/fuzz.py`: damaged files of every kind are read, or refused in a sentence."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from fuzzed import READERS, contents, damage, read, write_samples

ROUNDS = {"pictures": 120, "videos": 60, "sounds": 120}


@pytest.mark.parametrize("kind", READERS)
def test_damaged_files_are_read_or_refused(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL)
    (tmp_path / "samples").mkdir()
    samples = contents(write_samples(kind, tmp_path / "samples"))
    for name, content in samples:
        path = tmp_path / name
        path.write_bytes(content)
        if name not in ("claim.webp", "edits.mp4"):
            assert read(kind, path) == "read", name
    rng = random.Random(14)
    for _ in range(ROUNDS.get(kind, 150)):
        name, content = rng.choice(samples)
        path = tmp_path / name
        path.write_bytes(damage(content, [other for _, other in samples], rng))
        read(kind, path)
