"""Head angles from a few given ones, as SadTalker's `--input_yaw` and its sisters take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Floats64


def keyframe_angles(values: Sequence[float], frames: int) -> Floats64:
    """(frames,) an angle that passes through `values` one after another, at one speed all the way.

    The first frame has the first value, the last frame the last. A single value is held, and so is one that does
    not change. Source: spec talker.md §14.3; unlike the original, which counts in whole frames, any floats and
    any number of frames do (§16, defect 80).

    Raises:
        ValueError: no value, or one that is not finite.
    """
    stops = np.asarray(values, dtype=np.float64)
    if stops.ndim != 1 or not len(stops) or not np.isfinite(stops).all():
        raise ValueError(f"need one or more finite angles, got {values!r}")
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(stops)))])  # degrees travelled at each value
    if frames < 2:
        return np.full(frames, stops[0])
    return np.interp(np.linspace(0.0, way[-1], frames), way, stops)
