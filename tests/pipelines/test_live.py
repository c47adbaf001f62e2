"""Which engines a live session has."""

from __future__ import annotations

import pytest

from liveportrait_talker import LiveOptions, OptionError, Talker
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.pipelines import engines


@pytest.fixture
def with_weights(monkeypatch):
    """As if the networks' weights were installed."""
    pytest.importorskip("torch")
    monkeypatch.setattr(engines, "missing_parts", lambda *_: None)


def test_neural_is_refused_without_a_gpu(with_weights):
    with pytest.raises(OptionError, match="needs an NVIDIA GPU"):
        Talker().live(PORTRAIT, LiveOptions(renderer="neural", device="cpu", max_size=256))


def test_auto_takes_what_draws_in_real_time(with_weights, caplog):
    caplog.set_level("INFO")
    with Talker().live(PORTRAIT, LiveOptions(device="cpu", max_size=256, paced=False)) as session:
        assert next(session).image.shape == (256, 256, 3)
    assert "live only on an NVIDIA GPU" in caplog.text


def test_a_driver_of_whole_voices_is_refused():
    with pytest.raises(OptionError, match="whole voices"):
        Talker(driver=SignalDriver()).live(PORTRAIT)


def test_a_transparent_background():
    options = LiveOptions(renderer="embedded", background="transparent", max_size=256, paced=False)
    with Talker().live(PORTRAIT, options) as session:
        image = next(session).image
    assert image.shape == (256, 256, 4) and image[..., 3].min() == 0 and image[..., 3].max() == 255
