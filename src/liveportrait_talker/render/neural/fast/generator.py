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
        self.shared_0, self.shared_1 = (_shared(norm, times, conv) for norm in (block.norm_0, block.norm_1))
        self.changes_width = block.changes_width
        shortcut_gamma = None
        if self.changes_width:
            self.conv_s = conv(block.conv_s.weight, None)
            self.shared_s = _shared(block.norm_s, times, conv)
            shortcut_gamma = _gamma(block.norm_s)
            weight, bias = weight_and_bias(block.norm_s.mlp_beta)
            after = block.conv_s.weight[:, :, 0, 0]
            self.beta_s = conv(torch.einsum("oc,cihw->oihw", after, weight), after @ bias)
        self.norm_0 = conv.spade(
            _gamma(block.norm_0), weight_and_bias(block.norm_0.mlp_beta), shortcut_gamma, upsample=times > 1
        )
        self.norm_1 = conv.spade(_gamma(block.norm_1), weight_and_bias(block.norm_1.mlp_beta))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return features (B, out, H, W), possibly in the memory of `x`."""
        shared = self.shared_s(condition) if self.changes_width else None
        y, shortcut = self.norm_0(x, self.shared_0(condition), shared)
        y, _ = self.norm_1(self.conv_0(y), self.shared_1(condition))
        out: Tensor = self.conv_1(y, x if shortcut is None else self.conv_s(shortcut, self.beta_s(shared)))
        return out


def _shared(spade: Spade, times: int, conv: ConvFactory) -> nn.Module:
    """Build the convolution from the condition (B, 256, h, w) that γ and β are computed from."""
    return conv.upsampled(*weight_and_bias(spade.mlp_shared[0]), times, relu=True)


def _gamma(spade: Spade) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of 1 + γ."""
    weight, bias = weight_and_bias(spade.mlp_gamma)
    return weight, bias + 1
