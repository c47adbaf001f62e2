"""Reader of LivePortrait's released motion templates, which are pickles: `pickled_numbers` reads them unexecuted.

Source: spec liveportrait.md §12 "Motion template".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Floats
from ..errors import MediaError
from .pickled_numbers import PickledArray, Refused, pickled_numbers
from .template import MAX_FRAMES, SHAPES, MotionTemplate

MAX_BYTES = 32 * 2**20
"""About 18 000 frames, twelve minutes at 25 a second."""
_DEFAULT_FPS = 25.0
# Field → what the released template calls it, and what the older one did.
_IN_FRAMES = {
    "scale": ("scale",),
    "rotation": ("R", "R_d"),
    "expression": ("exp",),
    "translation": ("t",),
    "keypoints": ("kp",),
    "points": ("x_s",),
}
_LISTS = {"eye_ratios": ("c_eyes_lst", "c_d_eyes_lst"), "lip_ratio": ("c_lip_lst", "c_d_lip_lst")}


def read_released_template(path: Path) -> MotionTemplate:
    """Read a `.pkl` motion template, of the old key names too. Nothing in it is executed.

    Raises:
        MediaError: it is missing or too large, is no template, or holds anything but a template's plain numbers.
    """
    if not path.is_file():
        raise MediaError(f"there is no motion template {path}.")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MediaError(f"cannot read the motion template {path}: {error.strerror or error}.") from error
    if len(data) > MAX_BYTES:
        raise MediaError(f"{path} is too large for a motion template: at most {MAX_BYTES >> 20} MB are read.")
    try:
        return _template(pickled_numbers(data))
    except (Refused, ValueError) as refused:
        raise MediaError(f"{path} is not read as a motion template: {refused}.") from refused


def _template(content: Any) -> MotionTemplate:
    """The template in what a pickle held. Raises Refused or ValueError."""
    if type(content) is not dict:
        raise Refused("it holds no dictionary")
    frames = _entry(content, ("motion",), "it")
    if type(frames) is not list or not all(type(frame) is dict for frame in frames):
        raise Refused("its motion is no list of frames")
    count = len(frames)
    if not 1 <= count <= MAX_FRAMES:
        raise Refused(f"it has {count} frames, and 1 to {MAX_FRAMES} are accepted")
    stated = content.get("n_frames", count)
    if stated != count:
        raise Refused("it has not as many frames as it says")
    arrays = {}
    for field, names in _IN_FRAMES.items():
        values = [_entry(frame, names, f"its frame {i}") for i, frame in enumerate(frames)]
        arrays[field] = _stacked(values, SHAPES[field], names[0])
    for field, names in _LISTS.items():
        values = _entry(content, names, "it")
        if type(values) is not list or len(values) != count:
            raise Refused(f"its {names[0]} is no list of one entry a frame")
        arrays[field] = _stacked(values, SHAPES[field], names[0])
    fps = content.get("output_fps", _DEFAULT_FPS)
    if type(fps) not in (int, float):
        raise Refused("its output_fps is no number")
    return MotionTemplate(fps=float(fps), **arrays)


def _entry(holder: dict[str, Any], names: tuple[str, ...], whose: str) -> Any:
    """The first of `names` that `holder` has."""
    for name in names:
        if name in holder:
            return holder[name]
    raise Refused(f"{whose} has no {names[0]}")


def _stacked(values: list[Any], shape: tuple[int, ...], name: str) -> Floats:
    """One entry a frame, each of `shape` or (1, *shape), as one array (T, *shape)."""
    found = []
    for i, value in enumerate(values):
        array = value.value if type(value) is PickledArray else None
        if array is None or array.shape not in (shape, (1, *shape)) or array.dtype.kind not in "fiu":
            wanted = ", ".join(map(str, (1, *shape)))
            raise Refused(f"{name} of its frame {i} is no array of numbers ({wanted})")
        found.append(array.reshape(shape))
    with np.errstate(over="ignore"):  # what is too large is told as not finite
        stacked: Floats = np.stack(found).astype(np.float32)
    return stacked
