"""Names for the array types that the package passes around."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""(H, W, 3) RGB, 0 … 255, unless a docstring says otherwise."""
Floats = npt.NDArray[np.floating[Any]]
"""Real numbers of any precision."""
Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
