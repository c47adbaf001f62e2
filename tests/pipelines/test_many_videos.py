"""Many videos in one process: memory, threads and open files stay flat."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import hostile
from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.examples import PORTRAIT

STATUS, FILES = Path("/proc/self/status"), Path("/proc/self/fd")


def used() -> dict[str, int]:
    """Return the memory in MB, the threads and the open files of this process."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    values = {"memory": int(lines["VmRSS"].split()[0]) // 1024, "threads": int(lines["Threads"])}
    return values | {"files": len(list(FILES.iterdir()))}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_flat_after_the_tenth_video(tmp_path: Path):
    """40 videos of a clip went from 410 to 1,263 MB, and from 12 to 92 threads."""
    voice = hostile.write_voice(tmp_path / "voice.wav", 0.4)
    film, options, talker = tmp_path / "film.mp4", TalkOptions(max_size=320, renderer="embedded"), Talker()
    talker.save(PORTRAIT, voice, film, options)
    after = []
    for _ in range(40):
        talker.save(film, voice, tmp_path / "out.mp4", options, overwrite=True)
        after.append(used())
    assert after[-1]["threads"] <= after[9]["threads"]
    assert after[-1]["files"] <= after[9]["files"]
    assert after[-1]["memory"] <= after[9]["memory"] + 20
