"""Every network by its name, built without weights. torch is loaded when the first one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import WeightsError
from ..system.devices import require_torch
from ..weights.registry import NETWORKS

if TYPE_CHECKING:
    from torch import nn


def neural_networks() -> tuple[str, ...]:
    """The names `build_network` knows: LivePortrait's four nets and three MLPs, SadTalker's three, the MappingNet."""
    return NETWORKS


def build_network(name: str) -> nn.Module:
    """The network `name`, float32 on torch's default device, in eval mode, with random weights.

    Its state-dict keys are those of the released file (for the MLPs: of the part, without `module.`). Nothing but
    parameters and persistent buffers is made here, so that `with torch.device("meta")` and
    `load_state_dict(..., assign=True)` skip the random weights.

    Raises:
        WeightsError: there is no such network, or torch is not installed.
    """
    if name not in neural_networks():
        raise WeightsError(f"there is no network {name!r}: the names are {', '.join(neural_networks())}.")
    require_torch(f"the network {name!r}")
    from ..driving.sadtalker.networks import BUILDERS as HEARING
    from ..render.neural.liveportrait import BUILDERS as DRAWING

    return {**DRAWING, **HEARING}[name]().eval()
