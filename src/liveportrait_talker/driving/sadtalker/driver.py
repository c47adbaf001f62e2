"""Learned driver: voice → 3DMM expressions → LivePortrait's lip keypoints.

Source: docs/method/sadtalker.md, Lips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...arrays import Floats, Floats32
from ...audio import mel
from ...face.alignment import align_face
from ...face.tracked import TrackedSource
from ...media.waveform import Waveform
from ...motion.resampling import resample_track
from ...motion.smoothing import OBSERVATION_VARIANCE, kalman_smooth
from ...motion.track import LipKeypoints
from ...options.talk import NEUTRAL_MOUTHS
from ...weights.conversion import WINDOW_ROWS
from ...weights.registry import MAPPINGNET_ROWS
from .nets.audio2exp import EXPRESSION
from .nets.face_3drecon import motion_coefficients
from .networks import SadTalker
from .windows import coefficient_windows, window_index

FRAMES_AT_ONCE = 64  # batch size: 30 MB for any length of voice; larger batches are not faster
# One frame of silence.
_SILENCE = Waveform(np.zeros(int(mel.SAMPLE_RATE / mel.FPS), np.float32), mel.SAMPLE_RATE)


class LearnedDriver:
    """Lip motion by SadTalker's expression network and the MappingNet.

    Args:
        networks: the networks.
        neutral_mouth: the mouth that is subtracted: `estimate`, the output for silence, or `first`, that of the first
            frame, as in the 2024 system.
        window_rows: 25…99, replaces the window length stated by the MappingNet's file.
        smooth_variance: observation variance of the Kalman smoother.

    Raises:
        ValueError: `neutral_mouth` or `window_rows` is none of these.
    """

    def __init__(
        self,
        networks: SadTalker,
        *,
        neutral_mouth: str = "estimate",
        window_rows: int | None = None,
        smooth_variance: float = OBSERVATION_VARIANCE,
    ) -> None:
        if neutral_mouth not in NEUTRAL_MOUTHS:
            raise ValueError(f"neutral_mouth must be one of {', '.join(NEUTRAL_MOUTHS)}, got {neutral_mouth!r}")
        if window_rows is not None and window_rows not in WINDOW_ROWS:
            raise ValueError(f"window_rows must be {WINDOW_ROWS[0]}…{WINDOW_ROWS[-1]}, got {window_rows}")
        self._networks = networks
        self._neutral_mouth = neutral_mouth
        self._window_rows = window_rows
        self._smooth_variance = smooth_variance

    def __repr__(self) -> str:
        return f"LearnedDriver({self._networks}, neutral mouth: {self._neutral_mouth})"

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> LipKeypoints:
        """Return the lips for each frame of `voice` (16 kHz), relative to the mouth at rest.

        Raises:
            WeightsError: a network is not installed, or its file is wrong.
        """
        own = source_coefficients(self._networks.network("sadtalker_face_3drecon"), source)[:EXPRESSION]
        networks = LipNetworks(
            self._networks.network("sadtalker_audio2exp"),
            self._networks.network("mappingnet"),
            self._window_rows or self._networks.window_rows,
        )
        lips = predict_lips(networks, voice, own)
        # In the first frame the mouth may be open already (docs/earlier_systems.md, defect 22).
        rest = lips if self._neutral_mouth == "first" else predict_lips(networks, _SILENCE, own)
        smooth = kalman_smooth(lips - rest[0], self._smooth_variance)
        return LipKeypoints(resample_track(smooth, mel.FPS, voice.frame_count(fps), fps))


@dataclass(frozen=True)
class LipNetworks:
    """Networks from voice to lips."""

    audio2exp: nn.Module
    mappingnet: nn.Module
    rows: int = MAPPINGNET_ROWS
    """Length of the MappingNet's windows, ≥ 25."""


@torch.inference_mode()
def predict_lips(networks: LipNetworks, voice: Waveform, own: Floats) -> Floats:
    """Return the MappingNet's offsets (T, 6, 3) float32 of the lip keypoints at 25 fps; T is `voice.frame_count(25)`.

    Args:
        networks: see `LipNetworks`.
        voice: sound at 16 kHz.
        own: (64,) the source's expression.

    Raises:
        ValueError: the voice is not at 16 kHz.
    """
    device = network_device(networks.audio2exp)
    source = torch.from_numpy(own.astype(np.float32)).to(device)
    expressions = []
    for windows in voice_windows(voice):
        blink = torch.zeros(len(windows), 1, device=device)  # blinks are a separate channel
        expressions.append(networks.audio2exp(windows.to(device), source.expand(len(windows), -1), blink).cpu().numpy())
    expression = np.concatenate(expressions)  # (T, 64)
    lips = []
    for index in _batches(window_index(len(expression), networks.rows)):
        windows = torch.from_numpy(coefficient_windows(expression, index)).to(device)
        lips.append(networks.mappingnet(windows).cpu().numpy())
    offsets: Floats = np.concatenate(lips).reshape(-1, 6, 3)
    return offsets


# Lips and head of one video use the same mel rows.
_mel_rows: WeakKeyDictionary[Waveform, Floats32] = WeakKeyDictionary()


def voice_windows(voice: Waveform) -> Iterator[Tensor]:
    """Yield the mel windows (n ≤ 64, 1, 80, 16) of the `frame_count(25)` frames of `voice` (16 kHz) in batches."""
    frames = voice.frame_count(mel.FPS)
    rows = _mel_rows.get(voice)
    if rows is None:
        rows = _mel_rows[voice] = mel.mel_spectrogram(voice, frames).astype(np.float32)
    for index in _batches(mel.mel_window_index(frames, len(rows))):
        first, last = index[0, 0], index[-1, -1]
        yield torch.from_numpy(mel.mel_windows(rows[first : last + 1], index - first))


@torch.inference_mode()
def source_coefficients(net: nn.Module, source: TrackedSource) -> Floats:
    """Return the source's motion coefficients (70,) float32 by FaceRecon `net`: expression 64, angle 3, translation 3.

    Of a video, those of the first frame that shows the face.
    """
    frame = first_frame_with_face(source)
    face = align_face(source.footage[frame], source.faces[frame].landmarks)
    image = torch.from_numpy(face.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
    coefficients: Floats = motion_coefficients(net(image.to(network_device(net))))[0].cpu().numpy()
    return coefficients


def first_frame_with_face(source: TrackedSource) -> int:
    """Return the index of the first frame that shows the face, 0 if none does."""
    return next((k for k in range(len(source.faces)) if source.shows_face(k)), 0)


def network_device(net: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next(net.parameters()).device


def _batches(index: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of `index` (T, ...) in batches of FRAMES_AT_ONCE."""
    for first in range(0, len(index), FRAMES_AT_ONCE):
        yield index[first : first + FRAMES_AT_ONCE]
