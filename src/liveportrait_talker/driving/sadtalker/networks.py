"""The networks that hear: SadTalker's three and the MappingNet, on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

from torch import nn

from ...system.devices import torch_device
from ...weights import importing, registry, store
from ...weights.checkpoints import file_metadata
from ...weights.conversion import window_rows
from .nets import Audio2Exp, Audio2Pose, FaceRecon, MappingNet

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "sadtalker_audio2exp": Audio2Exp,
    "sadtalker_audio2pose": Audio2Pose,
    "sadtalker_face_3drecon": FaceRecon,
    "mappingnet": MappingNet,
}


class SadTalker:
    """SadTalker's networks and the MappingNet on one device; each is loaded when first needed, once.

    Args:
        weights: network → checkpoint file, in place of those that are installed.
        device: one of `devices.DEVICES`.

    Raises:
        OptionError: the device is not here.
        WeightsError: torch is not installed, or `weights` has a name that is no network's; or later, a network's
            weights are missing or not as they should be.
    """

    def __init__(self, *, weights: Mapping[str, Path | str] | None = None, device: str = "auto") -> None:
        self.device = torch_device(device)
        self._weights = dict(weights or {})
        for name in self._weights:
            registry.holding(name)  # says which names there are
        self._networks: dict[str, nn.Module] = {}

    def __repr__(self) -> str:
        return f"SadTalker({self.device})"

    def network(self, name: str) -> nn.Module:
        """One of the four, on the device, float32."""
        if name not in self._networks:
            file = self._weights.get(name)
            self._networks[name] = importing.load_network(name, BUILDERS[name], file=file, device=self.device)
        return self._networks[name]

    def load(self, names: Iterable[str]) -> SadTalker:
        """Load those of `names` that are not loaded yet, so that a file that is missing or wrong is found before any
        work; with the MappingNet also what its file says of its windows."""
        for name in names:
            self.network(name)
            if name == "mappingnet":
                _ = self.rows
        return self

    @cached_property
    def rows(self) -> int:
        """The window length that the MappingNet's file states, 28 where it states none, as the released."""
        file = self._weights.get("mappingnet")
        said = importing.metadata("mappingnet") if file is None else file_metadata(store.path(file))
        return window_rows(said, file or store.converted_path("mappingnet"))
