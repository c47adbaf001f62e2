"""W for inference: `nets.WarpingNetwork` with volumes stored as (B·16, C, H, W), channels last.

The mask convolution uses a Fourier transform along depth. Coordinates, sampling and the last two convolutions (3 % of
the work) stay in float32, because they determine where a pixel comes from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.appearance import DEPTH
from ..nets.warping import Hourglass, WarpingNetwork, coordinate_grid
from .convolution import CHANNEL_MULTIPLE, DepthFourierConv, fold_batch_norm, pad_channels, weight_and_bias
from .factory import ConvFactory
from .fields import motion_fields, motion_fields_numba
from .sampling import sample_volume, sample_volume_numba

_KERNEL = 7  # of the occlusion map


class FastWarping(nn.Module):
    """The same as `WarpingNetwork`; the large convolutions are computed in the dtype of `conv`."""

    occlusion_weight: Tensor
    occlusion_bias: Tensor

    def __init__(self, reference: WarpingNetwork, conv: ConvFactory) -> None:
        super().__init__()
        motion, dtype = reference.dense_motion_network, conv.dtype
        self.dtype = dtype
        self.fields = motion_fields_numba if conv.cpu else motion_fields
        self.sample = sample_volume_numba if conv.cpu else sample_volume
        # Under the names that `fold_batch_norm` expects.
        weight, bias = fold_batch_norm(nn.ModuleDict({"conv": motion.compress, "norm": motion.norm}))
        self.compress = conv.in_float32()(weight[..., 0], bias, relu=True)
        self.hourglass = _Hourglass(motion.hourglass, conv)
        self.mask = DepthFourierConv(*pad_channels(*weight_and_bias(motion.mask)), DEPTH, dtype, conv.direct)
        # A convolution with one output channel is slow: all taps are a matrix product, summed by `F.fold`.
        weight, bias = weight_and_bias(motion.occlusion)
        taps = weight.flip(2, 3).reshape(-1, DEPTH, _KERNEL**2).transpose(0, 1)
        taps = F.pad(taps, (0, -(_KERNEL**2) % CHANNEL_MULTIPLE, 0, -taps.shape[1] % CHANNEL_MULTIPLE))
        self.register_buffer("occlusion_weight", taps.flatten(0, 1).to(dtype).contiguous())
        self.register_buffer("occlusion_bias", bias.float())
        weight, bias = fold_batch_norm(reference.third)  # its inputs: the slices of each channel
        self.third = conv.in_float32()(
            weight.reshape(len(weight), -1, DEPTH, *weight.shape[2:]).transpose(1, 2).flatten(1, 2), bias
        )
        self.fourth = conv.in_float32()(*weight_and_bias(reference.fourth))

    def regions(self) -> list[nn.Module]:
        """Return the modules to compile: the network as a whole."""
        return [self]

    def forward(self, feature_3d: Tensor, *, kp_source: Tensor, kp_driving: Tensor) -> dict[str, Tensor]:
        """Return warped features, occlusion map and deformation by name, float32."""
        volume = feature_3d.float()
        batch, size = len(volume), volume.shape[2:]
        shifts = kp_source - kp_driving  # (B, 21, 3)
        small = self.compress(volume.flatten(2, 3)).reshape(batch, -1, *size)
        h = self.hourglass(self.fields(small, kp_source, kp_driving, self.dtype))  # (B·D, 144, H, W)

        mask = self.mask(h)[:, : shifts.shape[1] + 1].permute(0, 2, 3, 1).softmax(dim=-1).view(batch, *size, -1)
        moved = mask[..., 1:].flatten(1, 3) @ shifts  # the background has no shift
        deformation = coordinate_grid(size, like=shifts) + moved.view(batch, *size, 3)
        occlusion = torch.sigmoid(self._occlusion(h, batch))

        out = F.leaky_relu_(self.third(self.sample(volume, deformation)), 0.01)
        return {"out": self.fourth(out) * occlusion, "occlusion_map": occlusion, "deformation": deformation}

    def _occlusion(self, h: Tensor, batch: int) -> Tensor:
        """Return (B, 1, H, W) before the sigmoid."""
        height, width = h.shape[2:]
        rows = h.view(batch, DEPTH, -1, height, width).permute(0, 3, 4, 1, 2).flatten(3).flatten(1, 2)
        taps = (rows @ self.occlusion_weight)[..., : _KERNEL**2].float().transpose(1, 2)  # (B, 49, H·W)
        sums = F.fold(taps, (height, width), _KERNEL, padding=_KERNEL // 2)
        return sums + self.occlusion_bias


class _Hourglass(nn.Module):
    """Motion fields (B·D, 112, H, W) → features (B·D, 144, H, W)."""

    def __init__(self, reference: Hourglass, conv: ConvFactory) -> None:
        super().__init__()
        encoder, decoder = reference.encoder, reference.decoder
        self.down = nn.ModuleList(conv.volume(*pad_channels(*fold_batch_norm(b)), DEPTH) for b in encoder.down_blocks)
        self.up = nn.ModuleList(conv.volume(*fold_batch_norm(b), DEPTH, upsample=True) for b in decoder.up_blocks)
        self.last = conv.volume(*pad_channels(*fold_batch_norm(decoder)), DEPTH)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for down in self.down:
            maps.append(F.avg_pool2d(down(maps[-1]), 2))
        y = maps.pop()
        for up in self.up:
            y = torch.cat([up(y), maps.pop()], dim=1)
        features: Tensor = self.last(y)
        return features
