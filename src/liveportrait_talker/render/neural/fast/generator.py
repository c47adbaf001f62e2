"""G for inference, channels last: `nets.SpadeGenerator` with 22 % fewer operations (spec liveportrait.md §17).

Done once: σ divided into the spectral weights; γ and β of a SPADE in one convolution; the shortcut's 1×1 convolution
multiplied into the β before it, as only a sum stands between. Not done at all: what the repeated pixels of the enlarged
condition would repeat. Statistics are taken before a map is doubled, which changes neither mean nor variance.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.generator import Spade, SpadeBlock, SpadeGenerator
from .convolution import LAST, RepeatedConv, padded_by_one, weights
from .factory import Convolutions


class FastGenerator(nn.Module):
    """Features (B, 256, 64, 64) → RGB (B, 3, 512, 512) float32 in 0…1, computed in `dtype`."""

    def __init__(self, reference: SpadeGenerator, dtype: torch.dtype, *, winograd: bool = False) -> None:
        super().__init__()
        self.dtype = dtype
        conv = Convolutions(dtype, winograd)
        self.fc = conv(*weights(reference.fc))
        self.middle = nn.ModuleList(_Block(getattr(reference, f"G_middle_{i}"), 1, conv) for i in range(6))
        self.up = nn.ModuleList([_Block(reference.up_0, 2, conv), _Block(reference.up_1, 4, conv)])
        self.image = conv(*weights(reference.conv_img[0]))

    def regions(self) -> list[nn.Module]:
        """The parts that are worth compiling: passes over memory, of few different kinds."""
        return [part for part in self.modules() if isinstance(part, _Modulated)]

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
        self.conv_0 = conv(block.conv_0.weight, block.conv_0.bias)
        self.conv_1 = conv(block.conv_1.weight, block.conv_1.bias)
        self.norm_0 = _Modulation(block.norm_0, times, conv)
        self.norm_1 = _Modulation(block.norm_1, times, conv)
        self.enter, self.inside = _Modulated(doubles=times > 1), _Modulated()
        self.changes_width = block.changes_width
        if self.changes_width:
            self.conv_s = conv(block.conv_s.weight, None)
            self.norm_s = _Modulation(block.norm_s, times, conv, then=block.conv_s.weight[:, :, 0, 0])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gamma, beta = self.norm_s(condition) if self.changes_width else (None, None)
        y, shortcut = self.enter(x, *self.norm_0(condition), gamma)
        y, _ = self.inside(self.conv_0(y), *self.norm_1(condition))
        out: Tensor = self.conv_1(y)
        return out.add_(x) if beta is None else out.add_(self.conv_s(shortcut)).add_(beta)


class _Modulated(nn.Module):
    """What SPADE does to a map x (B, C, h, w) between two convolutions, element by element; `doubles`: x is doubled."""

    def __init__(self, *, doubles: bool = False) -> None:
        super().__init__()
        self.doubles = doubles

    def forward(
        self, x: Tensor, gamma: Tensor, beta: Tensor, shortcut: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x normalised, times γ plus β, leaky; and x normalised times the γ of the `shortcut`, if there is one."""
        normal = F.instance_norm(x)
        if self.doubles:
            normal = F.interpolate(normal, scale_factor=2, mode="nearest")
        active = F.leaky_relu_(torch.addcmul(beta, normal, gamma), 0.2)
        return active, None if shortcut is None else normal.mul_(shortcut)


class _Modulation(nn.Module):
    """The condition (B, 256, h, w) → 1 + γ (B, C, H, W) and β (B, C or as `then` says, H, W) of one SPADE."""

    def __init__(self, spade: Spade, times: int, conv: Convolutions, *, then: Tensor | None = None) -> None:
        super().__init__()
        gamma_weight, gamma_bias = weights(spade.mlp_gamma)
        beta_weight, beta_bias = weights(spade.mlp_beta)
        if then is not None:
            beta_weight = torch.einsum("oc,cihw->oihw", then, beta_weight)
            beta_bias = then @ beta_bias
        weight = torch.cat([gamma_weight, beta_weight])
        bias = torch.cat([gamma_bias + 1, beta_bias])
        shared = weights(spade.mlp_shared[0])
        self.channels = len(gamma_bias)
        self.steer: nn.Module
        if times == 4 and not conv.winograd:
            self.steer = _Quadrupled(*shared, weight, bias, conv.dtype)
        else:
            first = RepeatedConv(*shared, conv.dtype, times) if times > 1 else conv(*shared)
            self.steer = nn.Sequential(first, nn.ReLU(inplace=True), conv(weight, bias))

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        both = self.steer(condition)
        return both[:, : self.channels], both[:, self.channels :]


# Along one axis, the first map on a fourfold condition has the pattern L M M R in each cell. For each of the cell's
# four pixels: which of these the second kernel's three taps see, (kind, cell before or after), equal neighbours merged;
# and which taps are merged.
_SEEN = (
    (("R", -1), ("L", 0), ("M", 0)),
    (("L", 0), ("M", 0)),
    (("M", 0), ("R", 0)),
    (("M", 0), ("R", 0), ("L", 1)),
)
_TAPS = (([0], [1], [2]), ([0], [1, 2]), ([0, 1], [2]), ([0], [1], [2]))
_KINDS = {"L": 0, "M": 1, "R": 3}  # kind → a phase of the four that shows it


class _Quadrupled(nn.Module):
    """A condition enlarged fourfold, 3×3 convolution, ReLU, 3×3 convolution: 25/144 and 100/144 of the operations."""

    bias: Tensor

    def __init__(
        self, shared_weight: Tensor, shared_bias: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.shared = RepeatedConv(shared_weight, shared_bias, dtype, times=4)
        self.register_buffer("bias", bias.to(dtype))
        for p, q in product(range(4), repeat=2):
            parts = [weight[:, :, ys][..., xs].sum(dim=(2, 3)) for ys in _TAPS[p] for xs in _TAPS[q]]
            self.register_buffer(f"weight_{p}{q}", torch.cat(parts, dim=1).to(dtype).contiguous())

    def forward(self, condition: Tensor) -> Tensor:
        """(B, O, 4h, 4w)."""
        count, _, height, width = condition.shape
        # Kinds of row and column → (B, h + 2, w + 2, 128), zeros about it.
        maps = {kinds: padded_by_one(F.relu_(seen)).permute(0, 2, 3, 1) for kinds, seen in self.shared.maps(condition)}
        out = torch.empty(
            (count, 4 * height, 4 * width, len(self.bias)), dtype=condition.dtype, device=condition.device
        )
        for p, q in product(range(4), repeat=2):
            columns = torch.cat(
                [
                    maps[_KINDS[a], _KINDS[b]][:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
                    for a, dy in _SEEN[p]
                    for b, dx in _SEEN[q]
                ],
                dim=-1,
            )
            out[:, p::4, q::4] = F.linear(columns, getattr(self, f"weight_{p}{q}"), self.bias)
        return out.permute(0, 3, 1, 2)
