"""What the parity tests share: golden files, networks with synthetic weights, the comparison."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from parity import GoldenFile, find, synthetic_weights


@pytest.fixture(scope="session")
def fixture_file() -> Any:
    """Loads a golden file by name."""

    @cache
    def load(name: str) -> GoldenFile:
        with np.load(find(f"{name}.npz"), allow_pickle=False) as file:
            arrays = dict(file)
        return GoldenFile(arrays, json.loads(str(arrays.pop("meta", "{}"))))

    return load


@pytest.fixture(scope="session")
def network() -> Any:
    """Builds a network by name with the synthetic weights of a salt, once."""
    import torch

    from liveportrait_talker.networks import build_network

    @cache
    def build(name: str, salt: str) -> Any:
        with torch.device("meta"):  # no random weights that are thrown away at once
            net = build_network(name)
        weights = {key: torch.from_numpy(value) for key, value in synthetic_weights(name, salt).items()}
        net.load_state_dict(weights, strict=True, assign=True)
        return net.requires_grad_(False)

    return build


@pytest.fixture(autouse=True, scope="session")
def two_threads() -> Iterator[None]:
    """Two threads for torch where it is installed, whatever the machine has."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def close() -> Any:
    """Asserts that two arrays differ by no more than `atol` (plus `of_largest` of the golden's largest value)."""

    def check(actual: Any, golden: np.ndarray, atol: float = 0.0, of_largest: float = 0.0) -> None:
        actual, golden = np.asarray(actual, np.float64), np.asarray(golden, np.float64)
        assert actual.shape == golden.shape
        error = float(np.abs(actual - golden).max(initial=0.0))
        bar = atol + of_largest * float(np.abs(golden).max(initial=0.0))
        assert error <= bar, f"off by {error:.3g}, allowed are {bar:.3g}"

    return check
