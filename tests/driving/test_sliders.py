"""Sliders of the expression editor as a motion track."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.driving.sliders import build_edit_track
from liveportrait_talker.motion.face_measurements import FaceMeasurements
from liveportrait_talker.options.sliders import ExpressionEdit


@pytest.mark.parametrize("pupil_y", [-15, 15])
def test_lids_follow_the_gaze(pupil_y):
    own = FaceMeasurements(
        25,
        np.zeros((1, 3)),
        np.zeros((1, 2)),
        np.ones(1),
        np.full((1, 2), 0.3),
        np.zeros((1, 2)),
        np.zeros((1, 4)),
        np.zeros((1, 2)),
    )
    blink = build_edit_track(ExpressionEdit(pupil_y=pupil_y), own).blink
    assert (np.sign(blink) == -np.sign(pupil_y)).all(), "up widens the eyes, down lowers the lids"
