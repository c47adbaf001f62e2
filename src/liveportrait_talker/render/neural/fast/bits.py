"""Maps of torch for kernels of ours: bfloat16, which NumPy and Numba do not know, goes there and back as bits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....system.jit import inlined


class Format(NamedTuple):
    """How numbers become the bits of a float32 and come back."""

    shift: int
    """Places."""
    half: int
    """What is added before some are cut off, to round."""
    odd: int
    """1 where halves go to the even number, 0 where nothing is cut off."""


FORMATS = {torch.float32: Format(0, 0, 0), torch.bfloat16: Format(16, 0x7FFF, 1)}


def bits(x: Tensor) -> npt.NDArray[Any]:
    """(B, C, H, W), channels last → its numbers (B, H, W, C) as bits; a view."""
    planes = x.permute(0, 2, 3, 1)
    assert planes.is_contiguous()
    kind = torch.int16 if x.dtype == torch.bfloat16 else torch.int32
    seen: npt.NDArray[Any] = planes.view(kind).numpy()
    return seen.view(np.uint16 if kind == torch.int16 else np.uint32)


@inlined
def widen(numbers, wide, shift):  # type: ignore[no-untyped-def]
    """Numbers of a format → the bits of float32."""
    for c in range(len(numbers)):
        wide[c] = np.uint32(numbers[c]) << np.uint32(shift)


@inlined
def narrow(wide, numbers, shift, half, odd):  # type: ignore[no-untyped-def]
    """The bits of float32 → the nearest numbers of a format; NaN as processors make it stays NaN."""
    for c in range(len(numbers)):
        b = wide[c]
        numbers[c] = (b + np.uint32(half) + ((b >> np.uint32(shift)) & np.uint32(odd))) >> np.uint32(shift)
