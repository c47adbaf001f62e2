"""Construction of the fast version of a network, for one device and dtype."""

from __future__ import annotations

import torch
from torch import nn

from ..nets.generator import SpadeGenerator
from ..nets.warping import WarpingNetwork
from .factory import ConvFactory
from .generator import FastGenerator
from .warping import FastWarping


@torch.no_grad()
def build_fast_network(reference: nn.Module, dtype: torch.dtype, device: torch.device) -> FastWarping | FastGenerator:
    """Build the fast version of `reference`, which is W or G, on `device`.

    It shares no memory with `reference`, so that a memory-mapped weights file can be closed.
    """
    conv = ConvFactory.for_device(device, dtype)
    net: FastWarping | FastGenerator
    if isinstance(reference, WarpingNetwork):
        net = FastWarping(reference, conv)
    else:
        assert isinstance(reference, SpadeGenerator)
        net = FastGenerator(reference, conv)
    shared = {tensor.data_ptr() for tensor in reference.state_dict().values()}
    for part in net.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.data_ptr() in shared:
                part.register_buffer(name, buffer.clone())
    return net.to(device)
