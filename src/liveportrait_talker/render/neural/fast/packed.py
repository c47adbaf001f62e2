"""Convolutions on CPUs with weights laid out beforehand for oneDNN.

Otherwise oneDNN lays out the weights for each frame, which with AMX takes longer than the convolution. The operators
are those that `torch.compile` uses; torch has no public name for them.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn

from .convolution import to_channels_last


def packing_available() -> bool:
    """Return whether this build of torch has the operators for this CPU."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class PackedConv(nn.Module):
    """The same as `convolution.Conv`. After the first call it cannot be copied or pickled: the layout is opaque."""

    kernel: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("bias", None if bias is None else bias.to(dtype))
        self.register_buffer("kernel", to_channels_last(weight.to(dtype)))  # packed when the input size is known
        axes = weight.dim() - 2
        # Padding, stride, dilation, groups.
        self.geometry: tuple[Any, ...] = ([taps // 2 for taps in weight.shape[2:]], [1] * axes, [1] * axes, 1)
        self.relu = relu

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Return conv(x) + addend, after ReLU if set, in one pass; the result is in the memory of `addend`."""
        kernel = self.kernel
        if kernel.layout == torch.strided:
            kernel = torch.ops.mkldnn._reorder_convolution_weight(kernel, *self.geometry, list(x.shape))
            self.kernel = kernel
        name = "relu" if self.relu else None
        if addend is None:
            return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
                x, kernel, self.bias, *self.geometry, name or "none", [], ""
            )
        assert addend.is_contiguous(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise_.binary(  # type: ignore[no-any-return]
            addend, x, kernel, self.bias, *self.geometry, "add", 1.0, name, [], None
        )
