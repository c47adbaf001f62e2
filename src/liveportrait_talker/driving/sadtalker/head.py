"""A head that moves with the voice, by SadTalker's pose network (spec talker.md §5).

The morphable model's frame has x to the picture's right, y up and z to the camera, as the meter's has
(`motion.rotation`). It turns by Rz(roll) Ry(yaw) Rx(pitch), the meter by Rz(roll) Ry(yaw) Rx(−pitch): so only pitch
changes its sign. The model's camera stands at z = 10.
"""

from __future__ import annotations

import logging
from typing import cast

import numpy as np
import torch

from ...arrays import Floats
from ...audio.mel import FPS
from ...face.alignment import alignment, ibug68, upwards
from ...face.tracked import TrackedSource
from ...media.waveform import Waveform
from ...motion.resampling import resample_track
from ...motion.track import HeadTrack
from ..reference import COMFORTABLE_DEG
from .driver import device_of, first_seen, source_coefficients, voice_windows
from .nets import Audio2Pose
from .nets.audio2exp import EXPRESSION
from .nets.audio2pose import LATENT, STYLES, segment_count
from .networks import SadTalker
from .smoothing import smooth_pose

log = logging.getLogger(__name__)

COMFORTABLE = np.array([*COMFORTABLE_DEG, 0.1, 0.1, 0.1])
"""What a portrait bears: pitch, yaw, roll in degrees, shift x, y in crop widths, change of scale."""
_CAMERA_Z = 10.0
_NEAREST = 1.0  # to the camera: what would be nearer, or behind it, is no pose
_PX_PER_UNIT = 102.0  # of the aligned picture, at z = 0
_TO_METER = np.degrees(1.0) * np.array([-1.0, 1.0, 1.0])  # radians → degrees, see above


def audio_head(
    networks: SadTalker,
    voice: Waveform,
    source: TrackedSource,
    fps: float,
    rng: np.random.Generator,
    *,
    style: int,
) -> HeadTrack:
    """The head for every frame of `voice` (16 kHz), away from the pose it starts in.

    `style`, 0…45, is one of the speakers the network learned from; `rng` draws which of his motions it is.

    Raises:
        ValueError: there is no such style.
        WeightsError: a network is not installed, or its file is not as it should be.
    """
    if not 0 <= style < STYLES:
        raise ValueError(f"a head's style is 0…{STYLES - 1}, got {style}")
    own = source_coefficients(networks.network("sadtalker_face_3drecon"), source)[EXPRESSION:]
    net = cast(Audio2Pose, networks.network("sadtalker_audio2pose"))
    pose = smooth_pose(voice_pose(net, voice, own, rng, style=style))
    motion = within_comfort(motion_of(pose, shift_per_unit(source)))
    motion = resample_track(motion, FPS, voice.frame_count(fps), fps)
    return HeadTrack(motion[:, :3], motion[:, 3:5], 1.0 + motion[:, 5])


@torch.inference_mode()
def voice_pose(net: Audio2Pose, voice: Waveform, own: Floats, rng: np.random.Generator, *, style: int) -> Floats:
    """The network's raw poses (T, 6) float32 at 25 fps: radians and model units, starting from the source's `own` (6,).

    T is `voice.frame_count(25)`.
    """
    device = device_of(net)
    heard = torch.cat([net.audio_encoder(windows.to(device)) for windows in voice_windows(voice)])  # (T, 512)
    latents = rng.standard_normal((1, segment_count(len(heard)), LATENT), dtype=np.float32)
    pose = net.pose(
        heard[None],
        torch.from_numpy(own[None].astype(np.float32)).to(device),
        torch.from_numpy(latents).to(device),
        torch.tensor([style], device=device),
    )
    poses: Floats = pose[0].cpu().numpy()
    return poses


def motion_of(pose: Floats, shift_per_unit: float) -> Floats:
    """Poses (T ≥ 1, 6) of the model → their change since frame 0, (T, 6): degrees as the meter has them, shift x right
    and y down in crop widths, change of scale. `shift_per_unit`: crop widths per model unit."""
    depth = np.maximum(_CAMERA_Z - pose[:, 5], _NEAREST)
    moved = pose - pose[0]
    turned = moved[:, :3] * _TO_METER
    shift = moved[:, 3:5] * (shift_per_unit, -shift_per_unit)
    return np.column_stack([turned, shift, depth[0] / depth - 1.0])


def shift_per_unit(source: TrackedSource) -> float:
    """Crop widths per model unit: how far the source's face moves in its picture when the model moves by one."""
    seen = first_seen(source)
    points = upwards(ibug68(source.faces[seen].landmarks), source.footage.size[1])
    picture_px = _PX_PER_UNIT / alignment(points, source.footage.size).scale
    crop = source.faces[0].crop  # its width is the unit of shifts throughout a track
    return float(picture_px / (crop.scale * crop.size[0]))


def within_comfort(motion: Floats) -> Floats:
    """`motion` (T, 6), each column made smaller as a whole where it goes beyond COMFORTABLE."""
    share = np.minimum(1.0, COMFORTABLE / np.maximum(np.abs(motion).max(axis=0), 1e-6))
    if share.min() < 0.999:
        log.warning(
            "the voice moves the head further than the portrait can follow: its motion is reduced to %.0f %%.",
            100 * share.min(),
        )
    return np.asarray(motion * share)
