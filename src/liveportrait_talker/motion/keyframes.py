"""Head angles from keyframes, as for SadTalker's `--input_yaw`, `--input_pitch` and `--input_roll`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Floats64


def keyframe_angles(values: Sequence[float], frames: int) -> Floats64:
    """Return an angle (frames,) that passes through `values` in order at constant speed.

    The first frame has the first value, the last frame the last. A single value is held. Any finite numbers and any
    number of frames work (docs/earlier_systems.md, defect 80). Source: docs/method/motion.md, Angle keyframes.

    Raises:
        ValueError: `values` is empty or holds a value that is not finite.
    """
    stops = np.asarray(values, dtype=np.float64)
    if stops.ndim != 1 or not len(stops) or not np.isfinite(stops).all():
        raise ValueError(f"need one or more finite angles, got {values!r}")
    travelled = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(stops)))])  # degrees, at each value
    if frames < 2:
        return np.full(frames, stops[0])
    return np.interp(np.linspace(0.0, travelled[-1], frames), travelled, stops)
