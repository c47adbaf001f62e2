"""Fixtures for all tests."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import secrets
import shutil
import signal
import tempfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from checkpoints import write_released
from liveportrait_talker.cli.main import main
from parity import GoldenFile, find, synthetic_weights

# Processes inherit ignored signals (of nohup, some CI); the tests interrupt processes, and close their terminals.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# As `system.ray_cluster` sets them before it imports Ray; here a test may import it first.
os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}

# Tests sign with a certificate of their own, made by the first one that needs it, not with the user's.
_keys = tempfile.mkdtemp(prefix="talker-tests-")
atexit.register(shutil.rmtree, _keys, ignore_errors=True)
os.environ["LPT_CREDENTIALS"] = f"{_keys}/credentials"

# A busy machine must not fail a property test.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def launch_chromium() -> Iterator[Any]:
    """Function that starts the system's Chromium with more flags. Playwright runs for a module: beside it asyncio.run fails."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:

        def launch(*flags: str) -> Any:
            arguments = [*CHROMIUM_FLAGS, *flags]
            return driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)

        yield launch


@pytest.fixture(scope="session")
def golden() -> Any:
    """Function that loads a golden file by name; see `parity`."""

    @cache
    def load(name: str) -> GoldenFile:
        with np.load(find(f"{name}.npz"), allow_pickle=False) as file:
            arrays = dict(file)
        return GoldenFile(arrays, json.loads(str(arrays.pop("meta", "{}"))))

    return load


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the released checkpoints, with synthetic weights."""
    pytest.importorskip("torch")
    return write_released(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="session")
def store(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all networks, imported by `models import`."""
    folder = tmp_path_factory.mktemp("store")
    before = os.environ.get("LPT_MODELS")
    os.environ["LPT_MODELS"] = str(folder)
    try:
        assert main(["models", "import", str(released), "--quiet"]) == 0
    finally:
        os.environ.pop("LPT_MODELS") if before is None else os.environ.update(LPT_MODELS=before)
    return folder


@pytest.fixture(scope="session")
def network() -> Any:
    """Function that builds a network by name with the synthetic weights of a salt, once."""
    import torch

    from liveportrait_talker.pipelines.networks import build_network

    @cache
    def build(name: str, salt: str) -> Any:
        with torch.device("meta"):  # skips random initialisation
            net = build_network(name)
        weights = {key: torch.from_numpy(value) for key, value in synthetic_weights(name, salt).items()}
        net.load_state_dict(weights, strict=True, assign=True)
        return net.requires_grad_(False)

    return build


@pytest.fixture(scope="session")
def driving_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A talking, turning head of 1.6 s, drawn by the embedded renderer; see `rendering.render_driving_clip`."""
    from rendering import render_driving_clip

    return render_driving_clip(tmp_path_factory.mktemp("driving"))


@pytest.fixture(scope="session")
def kept_networks() -> dict[tuple[Any, ...], Any]:
    """LivePortrait's networks that `shared_networks` has loaded."""
    return {}


@pytest.fixture
def shared_networks(kept_networks: dict[tuple[Any, ...], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Load each of LivePortrait's networks once for all tests: W and G take ten seconds."""
    liveportrait = pytest.importorskip("liveportrait_talker.render.neural.liveportrait")
    load = liveportrait.LivePortrait.network

    def network(self: Any, name: str) -> Any:
        key = name, self._weights.get(name) or os.environ["LPT_MODELS"], self.device, self.dtype
        if key not in kept_networks:
            kept_networks[key] = load(self, name)
        return kept_networks[key]

    monkeypatch.setattr(liveportrait.LivePortrait, "network", network)


@pytest.fixture
def draw_noise(shared_networks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that depends on the keypoints, in place of W and G, which take seconds a frame and draw noise, too."""
    liveportrait = pytest.importorskip("liveportrait_talker.render.neural.liveportrait")

    def draw(self: Any, features: Any, source: Any, driving: Any) -> np.ndarray:
        seeds = (zlib.crc32(np.asarray(points, np.float32).tobytes()) for points in driving)
        return np.stack([np.random.default_rng(seed).integers(0, 256, (512, 512, 3), np.uint8) for seed in seeds])

    def load(self: Any) -> Any:
        for name in set(liveportrait.BUILDERS) - set(liveportrait.HEAVY):
            self.network(name)
        return self

    monkeypatch.setattr(liveportrait.LivePortrait, "draw", draw)
    monkeypatch.setattr(liveportrait.LivePortrait, "load", load)


@pytest.fixture(autouse=True, scope="session")
def two_threads() -> Iterator[None]:
    """Limit torch to two threads if it is installed."""
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
    """Function that asserts equality up to `atol` + `of_largest` · the largest golden value."""

    def check(actual: Any, golden: np.ndarray, atol: float = 0.0, of_largest: float = 0.0) -> None:
        actual, golden = np.asarray(actual, np.float64), np.asarray(golden, np.float64)
        assert actual.shape == golden.shape
        error = float(np.abs(actual - golden).max(initial=0.0))
        tolerance = atol + of_largest * float(np.abs(golden).max(initial=0.0))
        assert error <= tolerance, f"off by {error:.3g}, the tolerance is {tolerance:.3g}"

    return check
