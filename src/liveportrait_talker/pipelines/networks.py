"""Networks by name, built without weights. torch is imported when the first one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import WeightsError
from ..options.fields import shown
from ..system.devices import require_torch
from ..weights.registry import NETWORKS

if TYPE_CHECKING:
    from torch import nn


def neural_networks() -> tuple[str, ...]:
    """Return the names for `build_network`: LivePortrait's seven networks, SadTalker's three and the MappingNet."""
    return NETWORKS


def build_network(name: str) -> nn.Module:
    """Return the network `name`, float32 on torch's default device, in eval mode, with random weights.

    Its state-dict keys are those of the released file (for the MLPs: of the part, without `module.`). Nothing but
    parameters and persistent buffers is made here, so that `with torch.device("meta")` and
    `load_state_dict(..., assign=True)` skip the random weights.

    Raises:
        WeightsError: there is no such network, or torch is not installed.
    """
    if not isinstance(name, str) or name not in neural_networks():
        raise WeightsError(f"there is no network {shown(name)}: the names are {', '.join(neural_networks())}.")
    require_torch(f"the network {name!r}")
    from ..driving.sadtalker.networks import BUILDERS as SADTALKER_BUILDERS
    from ..render.neural.liveportrait import BUILDERS as LIVEPORTRAIT_BUILDERS

    return {**LIVEPORTRAIT_BUILDERS, **SADTALKER_BUILDERS}[name]().eval()
