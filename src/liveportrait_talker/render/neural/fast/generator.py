"""G for inference, channels last: `nets.SpadeGenerator` with 16 % fewer operations (spec liveportrait.md §17).

Done once: σ divided into the spectral weights; the shortcut's 1×1 convolution multiplied into the β before it, as only
a sum stands between. Not done at all: what the repeated pixels of the enlarged condition would repeat. Statistics are
taken before a map is doubled, which changes neither mean nor variance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.generator import Spade, SpadeBlock, SpadeGenerator
from .convolution import LAST, weights
from .factory import Convolutions
from .modulation import Modulated, ModulatedInOnePass


class FastGenerator(nn.Module):
    """Features (B, 256, 64, 64) → RGB (B, 3, 512, 512) float32 in 0…1, computed in the format of `conv`."""

    def __init__(self, reference: SpadeGenerator, conv: Convolutions) -> None:
        super().__init__()
        self.dtype = conv.dtype
        self.fc = conv(*weights(reference.fc))
        self.middle = nn.ModuleList(_Block(getattr(reference, f"G_middle_{i}"), 1, conv) for i in range(6))
        self.up = nn.ModuleList([_Block(reference.up_0, 2, conv), _Block(reference.up_1, 4, conv)])
        self.image = conv(*weights(reference.conv_img[0]))

    def regions(self) -> list[nn.Module]:
        """The parts that are worth compiling: blocks, of three kinds."""
        return [*self.middle, *self.up]

    def forward(self, feature: Tensor) -> Tensor:
        """Picture (B, 3, 512, 512)."""
        condition = feature.to(self.dtype, memory_format=LAST)
        x = self.fc(condition)
        for block in (*self.middle, *self.up):
            x = block(x, condition)
        x = self.image(F.leaky_relu_(x, 0.2))  # (B, 12, 256, 256)
        return torch.sigmoid_(F.pixel_shuffle(x.float(), 2))


class _Block(nn.Module):
    """`SpadeBlock` whose condition is enlarged `times`; where that is more than 1, its input is doubled first."""

    def __init__(self, block: SpadeBlock, times: int, conv: Convolutions) -> None:
        super().__init__()
        self.conv_0 = conv(block.conv_0.weight, None)  # the statistics after it take any bias away
        self.conv_1 = conv(block.conv_1.weight, block.conv_1.bias)
        self.norm_0 = _Modulation(block.norm_0, times, conv)
        self.norm_1 = _Modulation(block.norm_1, times, conv)
        modulated = ModulatedInOnePass if conv.processor else Modulated
        self.enter, self.inside = modulated(doubles=times > 1), modulated()
        self.changes_width = block.changes_width
        if self.changes_width:
            self.conv_s = conv(block.conv_s.weight, None)
            self.norm_s = _Modulation(block.norm_s, times, conv, then=block.conv_s.weight[:, :, 0, 0])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Features (B, out, H, W), perhaps in the memory of `x`."""
        gamma, beta = self.norm_s(condition) if self.changes_width else (None, None)
        y, shortcut = self.enter(x, *self.norm_0(condition), gamma)
        y, _ = self.inside(self.conv_0(y), *self.norm_1(condition))
        out: Tensor = self.conv_1(y, self.conv_s(shortcut, beta) if self.changes_width else x)
        return out


class _Modulation(nn.Module):
    """The condition (B, 256, h, w) → 1 + γ (B, C, H, W) and β (B, C or as `then` says, H, W) of one SPADE."""

    def __init__(self, spade: Spade, times: int, conv: Convolutions, *, then: Tensor | None = None) -> None:
        super().__init__()
        gamma_weight, gamma_bias = weights(spade.mlp_gamma)
        beta_weight, beta_bias = weights(spade.mlp_beta)
        if then is not None:
            beta_weight = torch.einsum("oc,cihw->oihw", then, beta_weight)
            beta_bias = then @ beta_bias
        self.shared = conv.repeated(*weights(spade.mlp_shared[0]), times, relu=True)
        self.gamma, self.beta = conv(gamma_weight, gamma_bias + 1), conv(beta_weight, beta_bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.shared(condition)
        return self.gamma(shared), self.beta(shared)
