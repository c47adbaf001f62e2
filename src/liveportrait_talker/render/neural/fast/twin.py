"""The fast twin of a network, for one device and one number format."""

from __future__ import annotations

import torch
from torch import nn

from ..nets.generator import SpadeGenerator
from ..nets.warping import WarpingNetwork
from .factory import Convolutions
from .generator import FastGenerator
from .warping import FastWarping


@torch.no_grad()
def fast_twin(reference: nn.Module, dtype: torch.dtype, device: torch.device) -> FastWarping | FastGenerator:
    """What draws like `reference` (W or G), on `device`; it shares no memory with it, so that a mapped file can go."""
    conv = Convolutions.for_device(device, dtype)
    twin: FastWarping | FastGenerator
    if isinstance(reference, WarpingNetwork):
        twin = FastWarping(reference, conv)
    else:
        assert isinstance(reference, SpadeGenerator)
        twin = FastGenerator(reference, conv)
    shared = {tensor.data_ptr() for tensor in reference.state_dict().values()}
    for part in twin.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.data_ptr() in shared:
                part.register_buffer(name, buffer.clone())
    return twin.to(device)
