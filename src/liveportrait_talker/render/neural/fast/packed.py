"""Convolutions on processors with their weights laid out beforehand, as oneDNN wants them.

Otherwise it lays them out anew for each frame, which with AMX takes longer than the sums. What is called here is what
`torch.compile` calls; torch has no public name for it.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn

from .convolution import last


def packs() -> bool:
    """Does this build of torch have it, on this processor?"""
    here = platform.machine().lower() in ("x86_64", "amd64")
    return here and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class PackedConv(nn.Module):
    """As `convolution.Conv`. Once it has been called it cannot be copied or pickled: torch does not show the layout."""

    kernel: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("bias", None if bias is None else bias.to(dtype))
        self.register_buffer("kernel", last(weight.to(dtype)))  # packed when the size of what it sees is known
        axes = weight.dim() - 2
        self.how: tuple[Any, ...] = ([taps // 2 for taps in weight.shape[2:]], [1] * axes, [1] * axes, 1)
        self.relu = relu

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """The sums, with what is to be added, in whose memory they come; all in one pass."""
        kernel = self.kernel
        if kernel.layout == torch.strided:
            kernel = self.kernel = torch.ops.mkldnn._reorder_convolution_weight(kernel, *self.how, list(x.shape))
        name = "relu" if self.relu else None
        if plus is None:
            return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
                x, kernel, self.bias, *self.how, name or "none", [], ""
            )
        assert plus.is_contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise_.binary(  # type: ignore[no-any-return]
            plus, x, kernel, self.bias, *self.how, "add", 1.0, name, [], None
        )
