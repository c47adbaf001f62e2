"""Lips by networks: the voice → 3DMM expressions → LivePortrait's lip keypoints (spec talker.md §4, §7, §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...arrays import Floats
from ...audio import mel
from ...face.alignment import recon_picture
from ...face.tracked import TrackedSource
from ...media.waveform import Waveform
from ...motion.resampling import resample_track
from ...motion.smoothing import OBSERVATION_VARIANCE, kalman_smooth
from ...motion.track import LipKeypoints
from ...options.talk import NEUTRAL_MOUTHS
from ...weights.conversion import WINDOW_ROWS
from .nets.audio2exp import EXPRESSION
from .nets.face_3drecon import motion_coefficients
from .networks import SadTalker
from .windows import ORIGINAL_ROWS, coefficient_windows, window_index

FRAMES_AT_ONCE = 64  # through a network: 30 MB, however long the voice; more at once is not faster
# One frame, whose windows are silent from end to end.
_SILENCE = Waveform(np.zeros(int(mel.SAMPLE_RATE / mel.FPS), np.float32), mel.SAMPLE_RATE)


class LearnedDriver:
    """Moves lips as SadTalker's networks hear them, told in LivePortrait's keypoints by the MappingNet.

    `neutral_mouth` is the mouth that offsets count from: `estimate`, what the networks say to silence, or `first`, what
    they say to the first frame, as the original did. `window_rows`, 25…99, replaces the window length that the
    MappingNet's file states.
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
        """The lips for every frame of `voice` (16 kHz), relative to the mouth at rest.

        Raises:
            WeightsError: a network is not installed, or its file is not as it should be.
        """
        own = source_coefficients(self._networks.network("sadtalker_face_3drecon"), source)[:EXPRESSION]
        networks = LipNetworks(
            self._networks.network("sadtalker_audio2exp"),
            self._networks.network("mappingnet"),
            self._window_rows or self._networks.rows,
        )
        lips = lip_offsets(networks, voice, own)
        # The first frame's mouth may be open: whoever starts to speak at once would seem to rest so (defect 22).
        rest = lips if self._neutral_mouth == "first" else lip_offsets(networks, _SILENCE, own)
        smooth = kalman_smooth(lips - rest[0], self._smooth_variance)
        return LipKeypoints(resample_track(smooth, mel.FPS, voice.frame_count(fps), fps))


@dataclass(frozen=True)
class LipNetworks:
    """What turns a voice into lips."""

    audio2exp: nn.Module
    mappingnet: nn.Module
    rows: int = ORIGINAL_ROWS
    """Length of the MappingNet's windows, ≥ 25."""


@torch.inference_mode()
def lip_offsets(networks: LipNetworks, voice: Waveform, own: Floats) -> Floats:
    """Offsets (T, 6, 3) float32 of the lip keypoints, as the MappingNet gives them, on the networks' 25 fps clock.

    `own` (64,) is the source's expression; T is `voice.frame_count(25)`, the voice at 16 kHz, else ValueError.
    """
    device = device_of(networks.audio2exp)
    source = torch.from_numpy(own.astype(np.float32)).to(device)
    heard = []
    for windows in voice_windows(voice):
        blink = torch.zeros(len(windows), 1, device=device)  # blinks come later, from another channel
        heard.append(networks.audio2exp(windows.to(device), source.expand(len(windows), -1), blink).cpu().numpy())
    expression = np.concatenate(heard)  # (T, 64)
    lips = []
    for index in _pieces(window_index(len(expression), networks.rows)):
        windows = torch.from_numpy(coefficient_windows(expression, index)).to(device)
        lips.append(networks.mappingnet(windows).cpu().numpy())
    offsets: Floats = np.concatenate(lips).reshape(-1, 6, 3)
    return offsets


def voice_windows(voice: Waveform) -> Iterator[Tensor]:
    """What the networks hear of `voice` (16 kHz): windows (n ≤ 64, 1, 80, 16) of its `frame_count(25)` frames."""
    frames = voice.frame_count(mel.FPS)
    rows = mel.mel_rows(voice, frames)
    for index in _pieces(mel.window_index(frames, len(rows))):
        first, last = index[0, 0], index[-1, -1]
        yield torch.from_numpy(mel.mel_windows(rows[first : last + 1], index - first))


@torch.inference_mode()
def source_coefficients(net: nn.Module, source: TrackedSource) -> Floats:
    """The (70,) float32 by which FaceRecon `net` tells the source's face: expression 64, angle 3, translation 3.

    They are the picture's, or of the first frame of a video that shows the face.
    """
    seen = first_seen(source)
    face = recon_picture(source.footage[seen], source.faces[seen].landmarks)
    image = torch.from_numpy(face.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
    coefficients: Floats = motion_coefficients(net(image.to(device_of(net))))[0].cpu().numpy()
    return coefficients


def first_seen(source: TrackedSource) -> int:
    """The first frame that shows the face; frame 0 where none does."""
    return next((k for k in range(len(source.faces)) if source.shows_face(k)), 0)


def device_of(net: nn.Module) -> torch.device:
    """Where a network's weights lie."""
    return next(net.parameters()).device


def _pieces(index: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Rows (T, ...) as many at once as a network takes."""
    for first in range(0, len(index), FRAMES_AT_ONCE):
        yield index[first : first + FRAMES_AT_ONCE]
