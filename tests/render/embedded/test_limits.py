import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.render.embedded.limits import MAX_APERTURE, Limits, soft_limit

NUMBERS = st.floats(-1e3, 1e3)


@given(NUMBERS, NUMBERS, st.floats(0.1, 100))
def test_soft_limit_is_bounded_odd_and_monotonic(a, b, limit):
    x, y = soft_limit(np.array([a, b]), limit)
    assert abs(x) <= limit and abs(y) <= limit
    assert soft_limit(np.array(-a), limit) == -x
    if a < b:
        assert x <= y
    if abs(a) <= 0.7 * limit:
        assert x == a


@given(st.floats(0, 0.24), st.floats(-0.5, 0.6))
def test_the_drawn_aperture_is_in_range(aperture, change):
    limits = Limits(turn_share=1.0, aperture=aperture)
    drawn = aperture + limits.limit_mouth(np.array([change, 0, 0, 0, 0]))[0]
    assert -1e-9 <= drawn <= max(MAX_APERTURE, aperture / 0.7) + 1e-9


def test_neutral_controls_stay_neutral_for_any_aperture():
    for aperture in (0.0, 0.05, 0.1, 0.2, 0.24):
        assert Limits(1.0, aperture).limit_mouth(np.zeros(5)) == pytest.approx(np.zeros(5), abs=1e-9)


def test_a_wide_open_mouth_moves_but_does_not_close():
    limits = Limits(turn_share=1.0, aperture=0.5)
    shut, wide = (0.5 + limits.limit_mouth(np.array([a - 0.5, 0, 0, 0, 0]))[0] for a in (0.0, MAX_APERTURE))
    assert (shut, wide) == pytest.approx((0.25, 0.5))


def test_the_share_limits_yaw_but_not_roll():
    turn = np.array([4.0, 5.0, 6.0])
    free, shy = Limits(1.0, 0.0).limit_rotation(turn), Limits(0.25, 0.0).limit_rotation(turn)
    assert shy[1] == pytest.approx(free[1] / 4)
    assert shy[2] == free[2]
