"""What tests of several rooms share."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from checkpoints import write_released
from liveportrait_talker.cli import main

Golden = dict[str, npt.NDArray[Any]]

# A parent that ignores Ctrl-C (nohup, some CI) hands that on to us, and we to the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

COPIES = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """Loads a golden file by name, from the folder LPT_FIXTURES where set, else from the copies beside the tests.

    Inputs that a full fixture only describes are made and added as `input.NAME`, as the copies have them.
    """
    folder = Path(os.environ.get("LPT_FIXTURES", COPIES))

    def load(name: str) -> Golden:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
            arrays = dict(file)
        meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
        for key, spec in meta.get("inputs", {}).items():
            if f"input.{key}" not in arrays and "kind" in spec:
                arrays[f"input.{key}"] = _maker(folder).input_from_spec(spec, meta["salt"])
        return arrays

    return load


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released files with synthetic weights, as a user would have them."""
    pytest.importorskip("torch")
    return write_released(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="session")
def store(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All networks, imported by the command that the README names."""
    folder = tmp_path_factory.mktemp("store")
    before = os.environ.get("LPT_MODELS")
    os.environ["LPT_MODELS"] = str(folder)
    try:
        assert main(["models", "import", str(released), "--quiet"]) == 0
    finally:
        os.environ.pop("LPT_MODELS") if before is None else os.environ.update(LPT_MODELS=before)
    return folder


def _maker(folder: Path) -> Any:
    path = folder / "synthetic_weights.py"
    spec = importlib.util.spec_from_file_location("synthetic_weights", path)
    assert spec is not None and spec.loader is not None, f"{path} is needed to make the inputs"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
