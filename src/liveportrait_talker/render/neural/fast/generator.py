"""G for inference, channels last: `nets.SpadeGenerator` with 16 % fewer operations.

See docs/method/liveportrait.md, Fast path. Folded into the weights: the spectral norm, and the 1×1 convolution of a
shortcut into the β before it, because only a sum is between them. Values that upsampling of the condition would repeat
are computed once. Statistics are taken before upsampling, which changes neither mean nor variance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.generator import Spade, SpadeBlock, SpadeGenerator
from .convolution import CHANNELS_LAST, weight_and_bias
from .factory import ConvFactory
from .modulation import FusedSpadeModulation, SpadeModulation


class FastGenerator(nn.Module):
    """Features (B, 256, 64, 64) → RGB (B, 3, 512, 512) float32 in 0…1, computed in the dtype of `conv`."""

    def __init__(self, reference: SpadeGenerator, conv: ConvFactory) -> None:
        super().__init__()
        self.dtype = conv.dtype
        self.fc = conv(*weight_and_bias(reference.fc))
        self.middle = nn.ModuleList(_Block(getattr(reference, f"G_middle_{i}"), 1, conv) for i in range(6))
        self.up = nn.ModuleList([_Block(reference.up_0, 2, conv), _Block(reference.up_1, 4, conv)])
        self.image = conv(*weight_and_bias(reference.conv_img[0]))

    def regions(self) -> list[nn.Module]:
        """Return the modules to compile: blocks, of three kinds."""
        return [*self.middle, *self.up]

    def forward(self, feature: Tensor) -> Tensor:
        """Return the image (B, 3, 512, 512)."""
        condition = feature.to(self.dtype, memory_format=CHANNELS_LAST)
        x = self.fc(condition)
        for block in (*self.middle, *self.up):
            x = block(x, condition)
        x = self.image(F.leaky_relu_(x, 0.2))  # (B, 12, 256, 256)
        return torch.sigmoid_(F.pixel_shuffle(x.float(), 2))


class _Block(nn.Module):
    """`SpadeBlock` with the condition upsampled `times`; where that is more than 1, its input is upsampled ×2 first."""

    def __init__(self, block: SpadeBlock, times: int, conv: ConvFactory) -> None:
        super().__init__()
        self.conv_0 = conv(block.conv_0.weight, None)  # the normalisation that follows removes any bias
        self.conv_1 = conv(block.conv_1.weight, block.conv_1.bias)
        self.norm_0 = _SpadeParameters(block.norm_0, times, conv)
        self.norm_1 = _SpadeParameters(block.norm_1, times, conv)
        modulation = FusedSpadeModulation if conv.cpu else SpadeModulation
        self.modulate_0, self.modulate_1 = modulation(upsample=times > 1), modulation()
        self.changes_width = block.changes_width
        if self.changes_width:
            self.conv_s = conv(block.conv_s.weight, None)
            self.norm_s = _SpadeParameters(block.norm_s, times, conv, after_beta=block.conv_s.weight[:, :, 0, 0])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return features (B, out, H, W), possibly in the memory of `x`."""
        gamma, beta = self.norm_s(condition) if self.changes_width else (None, None)
        y, shortcut = self.modulate_0(x, *self.norm_0(condition), gamma)
        y, _ = self.modulate_1(self.conv_0(y), *self.norm_1(condition))
        out: Tensor = self.conv_1(y, self.conv_s(shortcut, beta) if self.changes_width else x)
        return out


class _SpadeParameters(nn.Module):
    """The condition (B, 256, h, w) → 1 + γ (B, C, H, W) and β (B, C, H, W) of one SPADE normalisation.

    `after_beta` (out, C): a 1×1 convolution that is applied to β.
    """

    def __init__(self, spade: Spade, times: int, conv: ConvFactory, *, after_beta: Tensor | None = None) -> None:
        super().__init__()
        gamma_weight, gamma_bias = weight_and_bias(spade.mlp_gamma)
        beta_weight, beta_bias = weight_and_bias(spade.mlp_beta)
        if after_beta is not None:
            beta_weight = torch.einsum("oc,cihw->oihw", after_beta, beta_weight)
            beta_bias = after_beta @ beta_bias
        self.shared = conv.upsampled(*weight_and_bias(spade.mlp_shared[0]), times, relu=True)
        self.gamma, self.beta = conv(gamma_weight, gamma_bias + 1), conv(beta_weight, beta_bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.shared(condition)
        return self.gamma(shared), self.beta(shared)
