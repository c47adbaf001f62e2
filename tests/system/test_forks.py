"""Processes that are forked from one that has made a video: the embedded renderer works in them, networks are refused."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sounds import syllables, write_wav

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SCRIPT = """
import os, sys
from liveportrait_talker import Editor, EditOptions, Talker, TalkerError, TalkOptions
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.options.edit import EditSetup

if sys.argv[1] == "neural":  # without W and G, which take seconds a frame
    import numpy as np
    from liveportrait_talker.render.neural.liveportrait import LivePortrait
    LivePortrait.load = lambda self: self
    LivePortrait.draw = lambda self, features, source, driving: np.full((len(driving), 512, 512, 3), 128, np.uint8)

talker, options = Talker(), TalkOptions(renderer=sys.argv[1], max_size=256, device="cpu", credentials=False)

def save(name, talker):
    talker.save(PORTRAIT, "voice.wav", name, options)

save("parent.mp4", talker)
session = Editor().open(PORTRAIT, setup=EditSetup(renderer=sys.argv[1], max_size=256, device="cpu", credentials=False))
session.draw(EditOptions(smile=0.5))
for number, one in enumerate((talker, Talker())):
    if not (child := os.fork()):
        try:
            if number == 0:
                session.draw(EditOptions(smile=1))
            save(f"child{number}.mp4", one)
            os._exit(0)
        except TalkerError as error:
            print(error, flush=True)
            os._exit(2)
    print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
save("again.mp4", talker)
"""


def run(folder, renderer, **environment):
    write_wav(folder / "voice.wav", syllables(0.3))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, renderer],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    assert (folder / "again.mp4").is_file()
    return done.stdout.splitlines()


def test_the_embedded_renderer_works_in_a_forked_process(tmp_path):
    assert run(tmp_path, "embedded") == ["exit 0", "exit 0"]
    videos = [(tmp_path / f"{name}.mp4").read_bytes() for name in ("parent", "child0", "child1", "again")]
    assert len(set(videos)) == 1


@pytest.mark.slow
def test_networks_are_refused_in_a_forked_process(tmp_path, store):
    lines = run(tmp_path, "neural", LPT_MODELS=str(store))
    assert lines[1::2] == ["exit 2", "exit 2"]
    assert all("multiprocessing.get_context('spawn')" in line for line in lines[::2])
    assert not list(tmp_path.glob("child*")) and not list(tmp_path.glob(".*.part*"))
