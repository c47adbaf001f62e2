"""Head motion from the voice by SadTalker's pose network.

The morphable model has the axes of a `MotionTrack` (x to the image's right, y up, z to the camera) but turns by
Rz(roll) Ry(yaw) Rx(pitch) instead of Rz(roll) Ry(yaw) Rx(−pitch), so only pitch changes its sign. Its camera is at
z = 10. Sources: docs/method/sadtalker.md, Head from voice; docs/method/conventions.md, Head angles.
"""

from __future__ import annotations

import logging
from typing import cast

import numpy as np
import torch

from ...arrays import Floats
from ...audio.mel import FPS
from ...face.alignment import fit_alignment, flip_y, ibug68
from ...face.tracked import TrackedSource
from ...media.waveform import Waveform
from ...motion.resampling import resample_track
from ...motion.rotation import MAX_TURN_DEG
from ...motion.track import HeadTrack
from .driver import first_frame_with_face, network_device, source_coefficients, voice_windows
from .nets import Audio2Pose
from .nets.audio2exp import EXPRESSION
from .nets.audio2pose import LATENT, STYLES, segment_count
from .networks import SadTalker
from .smoothing import smooth_pose

log = logging.getLogger(__name__)

MAX_MOTION = np.array([*MAX_TURN_DEG, 0.1, 0.1, 0.1])
"""Largest motion that looks right: pitch, yaw, roll in degrees, shift x, y in crop widths, change of scale."""
_CAMERA_Z = 10.0
_MIN_DEPTH = 1.0  # distance to the camera
_PX_PER_UNIT = 102.0  # of the aligned image, at z = 0
_TO_TRACK_DEG = np.degrees(1.0) * np.array([-1.0, 1.0, 1.0])  # model radians → `MotionTrack` degrees


def audio_head(
    networks: SadTalker,
    voice: Waveform,
    source: TrackedSource,
    fps: float,
    rng: np.random.Generator,
    *,
    style: int,
) -> HeadTrack:
    """Return the head for each frame of `voice` (16 kHz), relative to its first pose.

    Args:
        networks: SadTalker's networks.
        voice: sound at 16 kHz.
        source: the face that moves.
        fps: frames per second of the output.
        rng: draws the latent vectors of the motion.
        style: speaker of the training data, 0…45.

    Raises:
        ValueError: the style is not in 0…45.
        WeightsError: a network is not installed, or its file is wrong.
    """
    if not 0 <= style < STYLES:
        raise ValueError(f"a head's style is 0…{STYLES - 1}, got {style}")
    own = source_coefficients(networks.network("sadtalker_face_3drecon"), source)[EXPRESSION:]
    net = cast(Audio2Pose, networks.network("sadtalker_audio2pose"))
    pose = smooth_pose(predict_pose(net, voice, own, rng, style=style))
    motion = limit_motion(relative_motion(pose, shift_per_unit(source)))
    motion = resample_track(motion, FPS, voice.frame_count(fps), fps)
    return HeadTrack(motion[:, :3], motion[:, 3:5], 1.0 + motion[:, 5])


@torch.inference_mode()
def predict_pose(net: Audio2Pose, voice: Waveform, own: Floats, rng: np.random.Generator, *, style: int) -> Floats:
    """Return the raw poses (T, 6) float32 at 25 fps, in radians and model units, starting from the source's `own` (6,).

    T is `voice.frame_count(25)`.
    """
    device = network_device(net)
    embeddings = torch.cat([net.audio_encoder(windows.to(device)) for windows in voice_windows(voice)])  # (T, 512)
    latents = rng.standard_normal((1, segment_count(len(embeddings)), LATENT), dtype=np.float32)
    pose = net.pose(
        embeddings[None],
        torch.from_numpy(own[None].astype(np.float32)).to(device),
        torch.from_numpy(latents).to(device),
        torch.tensor([style], device=device),
    )
    poses: Floats = pose[0].cpu().numpy()
    return poses


def relative_motion(pose: Floats, shift_per_unit: float) -> Floats:
    """Convert poses (T ≥ 1, 6) of the model to their change since frame 0 (T, 6).

    The columns are pitch, yaw, roll in degrees of a `MotionTrack`, shift x right and y down in crop widths, and change
    of scale. `shift_per_unit` is in crop widths per model unit.
    """
    depth = np.maximum(_CAMERA_Z - pose[:, 5], _MIN_DEPTH)
    moved = pose - pose[0]
    turned = moved[:, :3] * _TO_TRACK_DEG
    shift = moved[:, 3:5] * (shift_per_unit, -shift_per_unit)
    return np.column_stack([turned, shift, depth[0] / depth - 1.0])


def shift_per_unit(source: TrackedSource) -> float:
    """Return the shift of the source's face, in crop widths, per model unit."""
    frame = first_frame_with_face(source)
    points = flip_y(ibug68(source.faces[frame].landmarks), source.footage.size[1])
    image_px = _PX_PER_UNIT / fit_alignment(points, source.footage.size).scale
    crop = source.faces[0].crop  # the unit of shifts for the whole track
    return float(image_px / (crop.scale * crop.size[0]))


def limit_motion(motion: Floats) -> Floats:
    """Scale down each column of `motion` (T, 6) that exceeds MAX_MOTION."""
    share = np.minimum(1.0, MAX_MOTION / np.maximum(np.abs(motion).max(axis=0), 1e-6))
    if share.min() < 0.999:
        log.warning(
            "the voice moves the head further than the portrait can follow: its motion is reduced to %.0f %%.",
            100 * share.min(),
        )
    return np.asarray(motion * share)
