"""SadTalker's three networks and the MappingNet on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

from torch import nn

from ...system.devices import refuse_forked_process, torch_device
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
    """SadTalker's networks and the MappingNet on one device; each is loaded once, when first used.

    Args:
        weights: network → checkpoint file, in place of the installed ones.
        device: one of `devices.DEVICES`.

    Raises:
        OptionError: the device is not available.
        WeightsError: torch is not installed, or `weights` has an unknown name; when a network is loaded: its weights
            are missing or wrong.
    """

    def __init__(self, *, weights: Mapping[str, Path | str] | None = None, device: str = "auto") -> None:
        self.device = torch_device(device)
        self._weights = dict(weights or {})
        for name in self._weights:
            registry.holding(name)  # raises an error that lists the names
        self._networks: dict[str, nn.Module] = {}

    def __repr__(self) -> str:
        return f"SadTalker({self.device})"

    def network(self, name: str) -> nn.Module:
        """Return one of the four networks, float32, on the device."""
        refuse_forked_process()
        if name not in self._networks:
            file = self._weights.get(name)
            self._networks[name] = importing.load_network(name, BUILDERS[name], file=file, device=self.device)
        return self._networks[name]

    def load(self, names: Iterable[str]) -> SadTalker:
        """Load the networks `names` (and the MappingNet's window length) now, so that wrong files are found early."""
        for name in names:
            self.network(name)
            if name == "mappingnet":
                _ = self.window_rows
        return self

    @cached_property
    def window_rows(self) -> int:
        """Window length stated by the MappingNet's file; 28 if it states none, as for the released weights."""
        file = self._weights.get("mappingnet")
        metadata = importing.metadata("mappingnet") if file is None else file_metadata(store.path(file))
        return window_rows(metadata, file or store.converted_path("mappingnet"))
