"""Audio2Pose, SadTalker's head-pose network (arXiv 2211.12194): the decoder of a conditional VAE.

Source: docs/method/sadtalker.md, Audio2pose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .audio2exp import EMBEDDING, audio_layers

SEGMENT = 32
"""Frames per latent vector."""
LATENT = 64
POSE = 6
"""Pitch, yaw, roll in radians, then x, y, z in model units, relative to the morphable model's camera."""
STYLES = 46
_FLAT = SEGMENT * POSE
_SEGMENTS_AT_ONCE = 64  # less than 2 MB each


def segment_count(frames: int) -> int:
    """Return the number of latent vectors of a clip: one for each 32 frames after the first, complete or not."""
    return -(-max(frames - 1, 0) // SEGMENT)


class Audio2Pose(nn.Module):
    """Mel windows (B, T, 1, 80, 16), source pose (B, 6), latents (B, S, 64), style (B,) int64 → pose (B, T, 6).

    S is `segment_count(T)`, the latents standard normal, the style 0…45. Frame 0 has the source's pose. Clips of a
    batch are independent. The result is not smoothed yet: see `driving.sadtalker.smoothing`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = _AudioEncoder()
        self.netG = _VAE()

    def forward(self, mels: Tensor, source_pose: Tensor, latents: Tensor, style: Tensor) -> Tensor:
        """Return the poses (B, T, 6)."""
        embeddings = self.audio_encoder(mels.flatten(0, 1)).unflatten(0, mels.shape[:2])
        return self.pose(embeddings, source_pose, latents, style)

    def pose(self, embeddings: Tensor, source_pose: Tensor, latents: Tensor, style: Tensor) -> Tensor:
        """Return the poses (B, T, 6) for the output of `audio_encoder` (B, T, 512).

        An embedding has 2 KB per frame, its computation takes megabytes: encode long voices in parts.
        """
        batch, frames = embeddings.shape[:2]
        segments = segment_count(frames)
        if latents.shape != (batch, segments, LATENT):
            raise ValueError(
                f"{frames} frames need latents ({batch}, {segments}, {LATENT}), got {tuple(latents.shape)}"
            )
        motion = source_pose.new_zeros(batch, frames, POSE)
        if segments:
            rows = _segment_rows(frames).to(embeddings.device)  # (S, 32)
            inputs = (
                source_pose.repeat_interleave(segments, dim=0),
                latents.flatten(0, 1),
                style.repeat_interleave(segments),
                embeddings[:, rows].flatten(0, 1),
            )
            pieces = zip(*(torch.split(whole, _SEGMENTS_AT_ONCE) for whole in inputs), strict=True)
            drawn = torch.cat([self._decode(*piece) for piece in pieces]).view(batch, segments, SEGMENT, POSE)
            # The last segment ends with the clip; of an incomplete one only the last rows are used.
            full = (frames - 1) // SEGMENT
            rest = (frames - 1) % SEGMENT
            motion[:, 1 : 1 + full * SEGMENT] = drawn[:, :full].flatten(1, 2)
            if rest:
                motion[:, -rest:] = drawn[:, -1, -rest:]
        return source_pose[:, None] + motion

    def _decode(self, *inputs: Tensor) -> Tensor:
        """Return the motion (S, 32, 6), on a CPU in float64.

        The decoder is small and magnifies rounding, which depends on the CPU and the number of segments.
        """
        decoder = self.netG.decoder
        if inputs[0].device.type != "cpu":
            motion: Tensor = decoder(*inputs)
            return motion
        weights = {name: _to_double(value) for name, value in decoder.state_dict().items()}
        motion = functional_call(decoder, weights, tuple(map(_to_double, inputs)))
        return motion.to(inputs[0].dtype)


def _to_double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _segment_rows(frames: int) -> Tensor:
    """Return the frames (S, 32) of each segment; an incomplete one has the last 32, clamped to frame 1."""
    full = torch.arange(1, 1 + (frames - 1) // SEGMENT * SEGMENT).view(-1, SEGMENT)
    if not (frames - 1) % SEGMENT:
        return full
    last = torch.arange(frames - SEGMENT, frames).clamp(min=1)
    return torch.cat([full, last[None]])


class _AudioEncoder(nn.Module):
    """(N, 1, 80, 16) → (N, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = audio_layers()

    def forward(self, mels: Tensor) -> Tensor:
        embedding: Tensor = self.audio_encoder(mels).flatten(1)
        return embedding


class _VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = _PoseEncoder()
        self.decoder = _PoseDecoder()


class _PoseEncoder(nn.Module):
    """Encoder of the VAE, used in training only: without forward, but its weights are in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.resunet = _ResUnet()
        self.MLP = nn.ModuleDict({"L0": nn.Linear(POSE + LATENT + 2 * _FLAT, 128)})
        self.linear_means = nn.Linear(128, LATENT)
        self.linear_logvar = nn.Linear(128, LATENT)
        self.linear_audio = nn.Linear(EMBEDDING, POSE)
        self.classbias = nn.Parameter(torch.zeros(STYLES, LATENT))


class _PoseDecoder(nn.Module):
    """Source pose (N, 6), latent (N, 64), style (N,), embeddings (N, 32, 512) → change of pose (N, 32, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.resunet = _ResUnet()
        self.MLP = nn.ModuleDict({"L0": nn.Linear(POSE + LATENT + _FLAT, 128), "L1": nn.Linear(128, _FLAT)})
        self.pose_linear = nn.Linear(POSE, POSE)
        self.linear_audio = nn.Linear(EMBEDDING, POSE)
        self.classbias = nn.Parameter(torch.zeros(STYLES, LATENT))

    def forward(self, source_pose: Tensor, latent: Tensor, style: Tensor, embedding: Tensor) -> Tensor:
        audio = self.linear_audio(embedding).flatten(1)  # (N, 192)
        x = torch.cat([source_pose, latent + self.classbias[style], audio], dim=1)
        x = torch.sigmoid(self.MLP["L1"](F.relu(self.MLP["L0"](x))))
        x = self.resunet(x.view(-1, 1, SEGMENT, POSE)).squeeze(1)
        motion: Tensor = self.pose_linear(x)
        return motion


class _ResUnet(nn.Module):
    """(N, 1, 32, 6) → the same shape in 0…1; axes channel, time, coefficient. Only time is reduced."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(_conv(1, 32), nn.BatchNorm2d(32), nn.ReLU(), _conv(32, 32))
        self.input_skip = nn.Sequential(_conv(1, 32))
        self.residual_conv_1 = _ResidualConv(32, 64, time_stride=2)
        self.residual_conv_2 = _ResidualConv(64, 128, time_stride=2)
        self.bridge = _ResidualConv(128, 256, time_stride=2)
        self.upsample_1 = _Upsample(256)
        self.up_residual_conv1 = _ResidualConv(256 + 128, 128)
        self.upsample_2 = _Upsample(128)
        self.up_residual_conv2 = _ResidualConv(128 + 64, 64)
        self.upsample_3 = _Upsample(64)
        self.up_residual_conv3 = _ResidualConv(64 + 32, 32)
        self.output_layer = nn.Sequential(nn.Conv2d(32, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.input_layer(x) + self.input_skip(x)  # time 32
        x2 = self.residual_conv_1(x1)  # 16
        x3 = self.residual_conv_2(x2)  # 8
        y = self.bridge(x3)  # 4
        y = self.up_residual_conv1(torch.cat([self.upsample_1(y), x3], dim=1))
        y = self.up_residual_conv2(torch.cat([self.upsample_2(y), x2], dim=1))
        y = self.up_residual_conv3(torch.cat([self.upsample_3(y), x1], dim=1))
        out: Tensor = self.output_layer(y)
        return out


class _ResidualConv(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, *, time_stride: int = 1) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.BatchNorm2d(channels_in),
            nn.ReLU(),
            _conv(channels_in, channels_out, time_stride),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            _conv(channels_out, channels_out),
        )
        self.conv_skip = nn.Sequential(_conv(channels_in, channels_out, time_stride), nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.conv_block(x) + self.conv_skip(x)
        return total


class _Upsample(nn.Module):
    """Doubles the time axis."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, (2, 1), stride=(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.upsample(x)
        return y


def _conv(channels_in: int, channels_out: int, time_stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=(time_stride, 1), padding=1)
