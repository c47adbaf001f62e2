"""Fixtures of the pipeline tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from rendering import render_clip


@pytest.fixture(scope="session")
def short_driving_clip(tmp_path_factory) -> Path:
    """Four frames at 5 fps without sound, for the networks, which take seconds per frame."""
    turn = np.array([[0, 0, 0], [0, 5, 0], [4, -5, 0], [0, 0, 3]], float)
    mouth = np.zeros((4, 5))
    mouth[:, 0] = (0, 0.15, 0.05, 0.1)
    motion = MotionTrack(5.0, HeadTrack.turning(turn), np.zeros((4, 2)), np.zeros((4, 2)), MouthControls(mouth))
    return render_clip(tmp_path_factory.mktemp("short") / "short.mp4", motion, None, side=320)
