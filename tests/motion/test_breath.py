from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.motion import natural_breath


def breath(seconds: float, fps: float = 25.0, seed: int = 0) -> np.ndarray:
    return natural_breath(round(seconds * fps), fps, np.random.default_rng(seed))


def test_a_chest_rises_and_falls_about_fifteen_times_a_minute():
    risen = breath(120)
    assert risen[0] == 0 and risen.min() >= 0 and 0.6 <= risen.max() <= 1
    peaks = (risen[1:-1] > risen[:-2]) & (risen[1:-1] >= risen[2:])
    assert 25 <= peaks.sum() <= 38
    assert np.abs(np.diff(risen)).max() < 0.06, "no jump"


def test_the_seed_decides_and_the_frame_rate_does_not():
    assert (breath(10) == breath(10)).all() and (breath(10) != breath(10, seed=1)).any()
    np.testing.assert_allclose(breath(10, fps=50)[::2], breath(10))
    assert len(breath(0)) == 0
    with pytest.raises(ValueError, match="positive"):
        natural_breath(3, 0, np.random.default_rng(0))
