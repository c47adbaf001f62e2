"""Integer views of channels-last tensors, so that Numba can process bfloat16."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....system.jit import inlined


class BitFormat(NamedTuple):
    """Conversion between the integer view of a dtype and the bits of float32."""

    shift: int
    """Number of low bits that float32 has in addition."""
    half: int
    """Added before these bits are cut off, for rounding."""
    odd: int
    """1 to round ties to even, 0 where nothing is cut off."""


FORMATS = {torch.float32: BitFormat(0, 0, 0), torch.bfloat16: BitFormat(16, 0x7FFF, 1)}


def integer_view(x: Tensor) -> npt.NDArray[Any]:
    """Return the values of a channels-last tensor (B, C, H, W) as a view (B, H, W, C) of uint16 or uint32."""
    return bits(x.permute(0, 2, 3, 1))


def bits(x: Tensor) -> npt.NDArray[Any]:
    """Return the values of a contiguous tensor as a view of uint16 or uint32."""
    assert x.is_contiguous()
    dtype = torch.int16 if x.dtype == torch.bfloat16 else torch.int32
    view: npt.NDArray[Any] = x.view(dtype).numpy()
    return view.view(np.uint16 if dtype == torch.int16 else np.uint32)


@inlined
def widen(values, wide, shift):  # type: ignore[no-untyped-def]
    """Convert `values` in a `BitFormat` to the bits of float32, `wide`."""
    if shift == 0:
        for c in range(len(values)):
            wide[c] = values[c]
    else:
        for c in range(len(values)):
            wide[c] = np.uint32(values[c]) << np.uint32(shift)


@inlined
def narrow(wide, values, shift, half, odd):  # type: ignore[no-untyped-def]
    """Round the bits of float32, `wide`, to `values` in a `BitFormat`; the NaNs that CPUs produce stay NaN."""
    if shift == 0:
        for c in range(len(values)):
            values[c] = wide[c]
    else:
        for c in range(len(values)):
            b = wide[c]
            values[c] = (b + np.uint32(half) + ((b >> np.uint32(shift)) & np.uint32(odd))) >> np.uint32(shift)
