"""Reader of LivePortrait's released motion templates, which are pickles.

Source: docs/method/liveportrait.md, Motion templates.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Floats
from ..errors import MediaError
from .archive import MAX_FRAMES
from .restricted_pickle import PickledArray, UnsafePickleError, unpickle_arrays
from .template import SHAPES, MotionTemplate

MAX_BYTES = 32 * 2**20
"""About 18 000 frames, twelve minutes at 25 frames/s."""
_DEFAULT_FPS = 25.0
# Field of `MotionTemplate` → its key in a released template, and in the older format.
_FRAME_KEYS = {
    "scale": ("scale",),
    "rotation": ("R", "R_d"),
    "expression": ("exp",),
    "translation": ("t",),
    "keypoints": ("kp",),
    "points": ("x_s",),
}
_LIST_KEYS = {"eye_ratios": ("c_eyes_lst", "c_d_eyes_lst"), "lip_ratio": ("c_lip_lst", "c_d_lip_lst")}


def read_released_template(path: Path) -> MotionTemplate:
    """Read a `.pkl` motion template, also with the old key names. Nothing in it is executed.

    Raises:
        MediaError: it is missing, too large, not a template, or holds anything but plain numbers and text.
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
        return _template(unpickle_arrays(data))
    except (UnsafePickleError, ValueError) as error:
        raise MediaError(f"{path} is not read as a motion template: {error}.") from error


def _template(content: Any) -> MotionTemplate:
    """Return the template that an unpickled object describes, or raise UnsafePickleError or ValueError."""
    if type(content) is not dict:
        raise UnsafePickleError("it holds no dictionary")
    frames = _entry(content, ("motion",), "it")
    if type(frames) is not list or not all(type(frame) is dict for frame in frames):
        raise UnsafePickleError("its motion is not a list of frames")
    count = len(frames)
    if not 1 <= count <= MAX_FRAMES:
        raise UnsafePickleError(f"it has {count} frames, and 1 to {MAX_FRAMES} are accepted")
    stated = content.get("n_frames", count)
    if stated != count:
        raise UnsafePickleError("its n_frames differs from its number of frames")
    arrays = {}
    for field, names in _FRAME_KEYS.items():
        values = [_entry(frame, names, f"its frame {i}") for i, frame in enumerate(frames)]
        arrays[field] = _stack(values, SHAPES[field], names[0])
    for field, names in _LIST_KEYS.items():
        values = _entry(content, names, "it")
        if type(values) is not list or len(values) != count:
            raise UnsafePickleError(f"its {names[0]} is not a list of one entry per frame")
        arrays[field] = _stack(values, SHAPES[field], names[0])
    fps = content.get("output_fps", _DEFAULT_FPS)
    if type(fps) not in (int, float):
        raise UnsafePickleError("its output_fps is not a number")
    return MotionTemplate(fps=float(fps), **arrays)


def _entry(holder: dict[str, Any], names: tuple[str, ...], whose: str) -> Any:
    """Return the value under the first of `names` that `holder` has."""
    for name in names:
        if name in holder:
            return holder[name]
    raise UnsafePickleError(f"{whose} has no {names[0]}")


def _stack(values: list[Any], shape: tuple[int, ...], name: str) -> Floats:
    """Return one entry per frame, each of `shape` or (1, *shape), as one float32 array (T, *shape)."""
    arrays = []
    for i, value in enumerate(values):
        array = value.value if type(value) is PickledArray else None
        if array is None or array.shape not in (shape, (1, *shape)) or array.dtype.kind not in "fiu":
            wanted = ", ".join(map(str, (1, *shape)))
            raise UnsafePickleError(f"{name} of its frame {i} is not an array of numbers ({wanted})")
        arrays.append(array.reshape(shape))
    with np.errstate(over="ignore"):  # becomes infinite, which `MotionTemplate` refuses
        stacked: Floats = np.stack(arrays).astype(np.float32)
    return stacked
