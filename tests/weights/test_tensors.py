"""The list of the networks' tensors, and files that are compared with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liveportrait_talker.pipelines.networks import build_network
from liveportrait_talker.weights import registry, tensors
from liveportrait_talker.weights.tensors import TensorSpec, expected_tensors, misfit, quoted


@pytest.fixture(autouse=True)
def expect() -> None:
    """Leaves the networks as large as they are."""


@pytest.mark.parametrize("network", registry.NETWORKS)
def test_the_list_has_the_tensors_of_the_definition(network):
    """After a change of a definition: python scripts/list_tensors.py."""
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        state = build_network(network).state_dict()
    assert expected_tensors(network) == {
        key: TensorSpec(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for key, tensor in state.items()
    }


@pytest.mark.parametrize("network", registry.NETWORKS)
def test_one_wrong_tensor_is_named(network):
    whole = dict(expected_tensors(network))
    assert misfit(whole, whole) is None
    halves = {k: replace(s, dtype="float16") if s.dtype == "float32" else s for k, s in whole.items()}
    assert misfit(whole, halves) is None
    name = next(iter(whole))
    wanted = whole[name]
    less = {k: v for k, v in whole.items() if k != name}
    assert misfit(whole, less) == f"it lacks the tensor '{name}'"
    assert misfit(whole, {}) == f"it lacks the tensor '{name}' and {len(whole) - 1} more"
    assert misfit(whole, whole | {"x\x1b[2J": wanted}) == (
        "it has the tensor 'x\\x1b[2J', which the network does not have"
    )
    wider = replace(wanted, shape=(7, *wanted.shape))
    assert misfit(whole, whole | {name: wider}) == (
        f"its tensor '{name}' has the shape {list(wider.shape)} where {list(wanted.shape)} is needed"
    )
    for dtype in ("int32", "bool", "F8_E4M3", "int64"):
        assert misfit(whole, whole | {name: replace(wanted, dtype=dtype)}) == (
            f"its tensor '{name}' holds {dtype} numbers where float32 is needed"
        )


def test_names_from_files_are_short_in_messages():
    assert len(quoted("x" * 100_000)) < 90 and "\x1b" not in quoted("\x1b[31m") and "\n" not in quoted("a\nb")
    assert set(tensors.ITEM_BYTES) >= {"float32", "int64"}
