"""Motions of faces as LivePortrait's motion extractor gives them: those of golden files, and random ones."""

from __future__ import annotations

import numpy as np

from liveportrait_talker.render.neural.keypoints import FaceMotion

AXES = ("pitch", "yaw", "roll")


def motion_of(part) -> FaceMotion:
    return FaceMotion(
        keypoints=part["kp"].reshape(-1, 21, 3),
        expression=part["exp"].reshape(-1, 21, 3),
        scale=part["scale"].reshape(-1, 1),
        translation=part["t"].reshape(-1, 3),
        rotation_deg=np.concatenate([part[axis].reshape(-1, 1) for axis in AXES], axis=1),
    )


def random_motion(rng: np.random.Generator, frames: int) -> FaceMotion:
    return FaceMotion(
        keypoints=rng.normal(0, 0.2, (frames, 21, 3)),
        expression=rng.normal(0, 0.02, (frames, 21, 3)),
        scale=rng.uniform(1.1, 1.6, (frames, 1)),
        translation=rng.normal(0, 0.1, (frames, 3)),
        rotation_deg=rng.uniform(-20, 20, (frames, 3)),
    )
