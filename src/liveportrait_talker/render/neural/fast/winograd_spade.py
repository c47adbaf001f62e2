"""SPADE on CPUs by Winograd convolutions: γ and β are used as soon as they are transformed, and never stored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .modulation import compute_statistics
from .winograd import WinogradModulation

Parameters = tuple[Tensor, Tensor]
"""Weight and bias of a convolution."""


class WinogradSpade(nn.Module):
    """The same as `modulation.Spade`."""

    def __init__(
        self,
        gamma: Parameters,
        beta: Parameters,
        shortcut_gamma: Parameters | None,
        *,
        upsample: bool,
        products: torch.dtype,
    ) -> None:
        super().__init__()
        self.modulate = WinogradModulation(gamma, beta, products=products, upsample=upsample)
        self.modulate_shortcut = (
            None
            if shortcut_gamma is None
            else WinogradModulation(shortcut_gamma, None, products=products, upsample=upsample)
        )

    def forward(self, x: Tensor, shared: Tensor, shortcut_shared: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the same as `Spade`."""
        statistics = compute_statistics(x)
        active = self.modulate(shared, x, statistics)
        if self.modulate_shortcut is None:
            return active, None
        return active, self.modulate_shortcut(shortcut_shared, x, statistics)
