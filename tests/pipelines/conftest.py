"""A driving clip whose motion is known, made by the embedded renderer itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import VideoWriter, open_footage
from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from liveportrait_talker.render.composite import paste
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from sounds import syllables, write_wav

FRAMES, FPS = 40, 25.0


def played(path: Path, track_: MotionTrack, voice: Path | None, side: int = 384) -> Path:
    source = track(open_footage(PORTRAIT, max_side=side))
    face, picture = EmbeddedRenderer().prepare(source), source.footage[0]
    with VideoWriter(
        path,
        size=source.footage.size,
        fps=track_.fps,
        voice=voice,
        frame_count=len(track_),
        title="driver",
        comment="made for a test",
    ) as writer:
        for drawn in face.frames(track_):
            writer.write(paste(picture, drawn))
    return path


@pytest.fixture(scope="session")
def driver(tmp_path_factory) -> Path:
    """A head that turns and nods, a mouth that opens twice, one blink; with sound."""
    folder = tmp_path_factory.mktemp("driver")
    t = np.arange(FRAMES) / FPS
    turn = np.stack([4 * np.sin(5 * t), 6 * np.sin(4 * t), np.zeros(FRAMES)], axis=1)
    mouth = np.zeros((FRAMES, 5))
    mouth[:, 0] = 0.16 * np.clip(np.sin(8 * t), 0, 1)
    blink = np.repeat(np.clip(1.4 - np.abs(np.arange(FRAMES) - 30)[:, None] / 3, 0, 1), 2, axis=1)
    motion = MotionTrack(FPS, HeadTrack.turning(turn), blink, np.zeros((FRAMES, 2)), MouthControls(mouth))
    return played(folder / "driver.mp4", motion, write_wav(folder / "voice.wav", syllables(FRAMES / FPS)))


@pytest.fixture(scope="session")
def short_driver(tmp_path_factory) -> Path:
    """Four frames, two a second, without sound: for the networks, which take their time."""
    turn = np.array([[0, 0, 0], [0, 5, 0], [4, -5, 0], [0, 0, 3]], float)
    mouth = np.zeros((4, 5))
    mouth[:, 0] = (0, 0.15, 0.05, 0.1)
    motion = MotionTrack(5.0, HeadTrack.turning(turn), np.zeros((4, 2)), np.zeros((4, 2)), MouthControls(mouth))
    return played(tmp_path_factory.mktemp("short") / "short.mp4", motion, None, side=320)
