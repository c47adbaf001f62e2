"""Golden files and synthetic weights for the parity tests.

Files are read from the folder LPT_FIXTURES if it is set, else from tests/goldens, else from ../shared/fixtures.
Each file states the salt of its weights and inputs.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COPIES = Path(__file__).with_name("goldens")
SHARED = Path(__file__).parents[2] / "shared" / "fixtures"
GIVEN = os.environ.get("LPT_FIXTURES")
MLP_KEYS = {"stitching": "retarget_shoulder", "retarget_lip": "retarget_mouth", "retarget_eye": "retarget_eye"}


def find(name: str, *, golden: bool = True) -> Path:
    """Return the file of this name, or skip the test. With LPT_FIXTURES, golden files come from that folder only."""
    folders = [Path(GIVEN)] if GIVEN else [COPIES, SHARED]
    if GIVEN and not golden:
        folders += [COPIES, SHARED]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"{name} is in none of {', '.join(map(str, folders))}")


@cache
def maker() -> Any:
    """Return the module `synthetic_weights`."""
    spec = importlib.util.spec_from_file_location("synthetic_weights", find("synthetic_weights.py", golden=False))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def manifest(name: str) -> dict[str, Any]:
    """Return the shape of each checkpoint entry."""
    return json.loads(find(f"manifests/{name}.json", golden=False).read_text())


def network_manifest(name: str) -> dict[str, Any]:
    """Return the shape of each entry of one network of `neural_networks()`; keys of MLPs without `module.`."""
    if name in MLP_KEYS:
        part = manifest("stitching_retargeting_module")[MLP_KEYS[name]]
        return {key.removeprefix("module."): shape for key, shape in part.items()}
    return manifest(name)


def synthetic_weights(name: str, salt: str) -> dict[str, np.ndarray]:
    """Return the checkpoint entries of one network that the golden files were made with."""
    if name in MLP_KEYS:
        nested = maker().synthetic_state_dict(manifest("stitching_retargeting_module"), salt)[MLP_KEYS[name]]
        return {key.removeprefix("module."): value for key, value in nested.items()}
    return maker().synthetic_state_dict(manifest(name), salt)


@dataclass
class GoldenFile:
    """A golden file: `z["name"]` is an output, `z.input("name")` an input of the original code."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        if name.startswith("input.") and name not in self.arrays:
            return self.input(name.removeprefix("input."))
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    @property
    def salt(self) -> str:
        return str(self.meta.get("salt", self.arrays.get("salt", "")))

    @property
    def cases(self) -> list[dict[str, Any]]:
        return self.meta["cases"]

    def input(self, name: str) -> Any:
        """Return an input: an array, or a dict of arrays for a group."""
        spec = self.meta["inputs"][name]
        if isinstance(spec, dict) and "kind" not in spec:
            return {key: maker().input_from_spec(part, self.salt) for key, part in spec.items()}
        return maker().input_from_spec(spec, self.salt)

    def image(self, name: str, height: int, width: int) -> np.ndarray:
        """Return the synthetic image of a `*seed*` entry."""
        return maker().synthetic_image(name, height, width, salt=self.salt)

    def sliced(self, name: str, output: Any) -> np.ndarray:
        """Return the part of `output` that the file stores as `name`."""
        pattern = next((p for p in (name, "*_" + name.rsplit("_", 1)[-1]) if p in self.meta["slices"]), None)
        parts = [slice(*(int(n) if n else None for n in p.split(":"))) for p in self.meta["slices"].get(pattern, [])]
        return np.asarray(output)[tuple(parts)]
