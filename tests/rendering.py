"""Clips with known motion, drawn by the embedded renderer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import VideoWriter, open_footage
from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.paste import paste
from sounds import syllables, write_wav

FRAMES, FPS = 40, 25.0


def render_clip(path: Path, motion: MotionTrack, voice: Path | None, side: int) -> Path:
    """Write a video of the example portrait, `side` px wide, with this motion."""
    source = track(open_footage(PORTRAIT, max_side=side))
    face, image = EmbeddedRenderer().prepare(source), source.footage[0]
    with VideoWriter(
        path,
        size=source.footage.size,
        fps=motion.fps,
        voice=voice,
        frame_count=len(motion),
        title="driving clip",
        comment="made for a test",
    ) as writer:
        for frame in face.frames(motion):
            writer.write(paste(image, frame))
    return path


def render_driving_clip(folder: Path) -> Path:
    """Write 1.6 s of a head that turns, nods and tilts, a mouth that opens twice and one blink; with sound."""
    t = np.arange(FRAMES) / FPS
    turn = np.stack([4 * np.sin(5 * t), 6 * np.sin(4 * t), 4 * np.sin(6 * t)], axis=1)
    mouth = np.zeros((FRAMES, 5))
    mouth[:, 0] = 0.16 * np.clip(np.sin(8 * t), 0, 1)
    blink = np.repeat(np.clip(1.4 - np.abs(np.arange(FRAMES) - 30)[:, None] / 3, 0, 1), 2, axis=1)
    motion = MotionTrack(FPS, HeadTrack.turning(turn), blink, np.zeros((FRAMES, 2)), MouthControls(mouth))
    voice = write_wav(folder / "voice.wav", syllables(FRAMES / FPS))
    return render_clip(folder / "driving.mp4", motion, voice, side=384)
