"""W for inference: `nets.WarpingNetwork`, its volumes laid out as (B·16, C, H, W), channels last.

The convolutions are those of `convolution` or `winograd`; the deep mask kernel goes through a Fourier transform along
depth. What decides where a pixel comes from (coordinates, sampling, the last two convolutions: 3 % of the work) stays
in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.warping import Hourglass, WarpingNetwork, coordinate_grid
from .convolution import MULTIPLE, DepthSpectrum, aligned, folded, weights
from .factory import Convolutions
from .fields import motion_fields, motion_fields_in_one_pass
from .sampling import sampled, sampled_by_cells

DEPTH = 16
_KERNEL = 7  # of the occlusion map


class FastWarping(nn.Module):
    """As `WarpingNetwork`, on volumes (B, 32, 16, 64, 64) in any dtype; the heavy convolutions in `dtype`."""

    occlusion_weight: Tensor
    occlusion_bias: Tensor

    def __init__(self, reference: WarpingNetwork, conv: Convolutions) -> None:
        super().__init__()
        motion, dtype = reference.dense_motion_network, conv.dtype
        self.dtype = dtype
        self.fields = motion_fields_in_one_pass if conv.processor else motion_fields
        self.sampled = sampled_by_cells if conv.processor else sampled
        # Its own names: `compress` and `norm` lie side by side with the other networks.
        weight, bias = folded(nn.ModuleDict({"conv": motion.compress, "norm": motion.norm}))
        self.compress = conv.in_float32()(weight[..., 0], bias, relu=True)
        self.hourglass = _Hourglass(motion.hourglass, conv)
        self.mask = DepthSpectrum(*aligned(*weights(motion.mask)), DEPTH, dtype, conv.plain)
        # One output alone would leave a convolution idle: all taps as a matrix product, then summed where they belong.
        weight, bias = weights(motion.occlusion)
        taps = weight.flip(2, 3).reshape(-1, DEPTH, _KERNEL**2).transpose(0, 1)
        taps = F.pad(taps, (0, -(_KERNEL**2) % MULTIPLE, 0, -taps.shape[1] % MULTIPLE))
        self.register_buffer("occlusion_weight", taps.flatten(0, 1).to(dtype).contiguous())
        self.register_buffer("occlusion_bias", bias.float())
        weight, bias = folded(reference.third)  # its inputs: the slices of each channel
        self.third = conv.in_float32()(
            weight.reshape(len(weight), -1, DEPTH, *weight.shape[2:]).transpose(1, 2).flatten(1, 2), bias
        )
        self.fourth = conv.in_float32()(*weights(reference.fourth))

    def regions(self) -> list[nn.Module]:
        """The parts that are worth compiling: all of it."""
        return [self]

    def forward(self, feature_3d: Tensor, *, kp_source: Tensor, kp_driving: Tensor) -> dict[str, Tensor]:
        """Warped features, occlusion and deformation by name, float32."""
        volume = feature_3d.float()
        batch, size = len(volume), volume.shape[2:]
        shifts = kp_source - kp_driving  # (B, 21, 3)
        small = self.compress(volume.flatten(2, 3)).reshape(batch, -1, *size)
        h = self.hourglass(self.fields(small, kp_source, kp_driving, self.dtype))  # (B·D, 144, H, W)

        mask = self.mask(h)[:, : shifts.shape[1] + 1].permute(0, 2, 3, 1).softmax(dim=-1).view(batch, *size, -1)
        moved = mask[..., 1:].flatten(1, 3) @ shifts  # the background's share moves nothing
        deformation = coordinate_grid(size, like=shifts) + moved.view(batch, *size, 3)
        occlusion = torch.sigmoid(self._occlusion(h, batch))

        out = F.leaky_relu_(self.third(self.sampled(volume, deformation)), 0.01)
        return {"out": self.fourth(out) * occlusion, "occlusion_map": occlusion, "deformation": deformation}

    def _occlusion(self, h: Tensor, batch: int) -> Tensor:
        """(B, 1, H, W) before the sigmoid."""
        height, width = h.shape[2:]
        rows = h.view(batch, DEPTH, -1, height, width).permute(0, 3, 4, 1, 2).flatten(3).flatten(1, 2)
        taps = (rows @ self.occlusion_weight)[..., : _KERNEL**2].float().transpose(1, 2)  # (B, 49, H·W)
        sums = F.fold(taps, (height, width), _KERNEL, padding=_KERNEL // 2)
        return sums + self.occlusion_bias


class _Hourglass(nn.Module):
    """What the dense motion network sees (B·D, 112, H, W) → its features (B·D, 144, H, W)."""

    def __init__(self, reference: Hourglass, conv: Convolutions) -> None:
        super().__init__()
        encoder, decoder = reference.encoder, reference.decoder
        self.down = nn.ModuleList(conv.deep(*aligned(*folded(b)), DEPTH) for b in encoder.down_blocks)
        self.up = nn.ModuleList(conv.deep(*folded(b), DEPTH, doubled=True) for b in decoder.up_blocks)
        self.last = conv.deep(*aligned(*folded(decoder)), DEPTH)

    def forward(self, x: Tensor) -> Tensor:
        """What is seen at every size, each doubled map beside the one of its size that was passed by."""
        maps = [x]
        for down in self.down:
            maps.append(F.avg_pool2d(down(maps[-1]), 2))
        y = maps.pop()
        for up in self.up:
            y = torch.cat([up(y), maps.pop()], dim=1)
        features: Tensor = self.last(y)
        return features
