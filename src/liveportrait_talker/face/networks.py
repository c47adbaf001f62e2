"""Run the bundled face models (`models/README.md`) with OpenCV's DNN module."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from ..arrays import Floats32, Image


class FaceNetwork:
    """One of the bundled ONNX models. Not thread-safe.

    Args:
        name: file name in `models/`, without the suffix.
        inputs: names of its inputs.
        outputs: names of its outputs.
    """

    def __init__(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        content = (files(__package__) / "models" / f"{name}.onnx").read_bytes()
        self._net: Any = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    def run(self, *values: Floats32) -> list[Floats32]:
        """Return the float32 outputs, in the order of their names, for float32 inputs (1, C, H, W)."""
        for name, value in zip(self._inputs, values, strict=True):
            self._net.setInput(value, name)
        return list(self._net.forward(self._outputs))


def image_input(image: Image, *, scale: float, mean: float = 0.0) -> Floats32:
    """Return the network input (1, 3, H, W) float32 of an (H, W, 3) uint8 image: (value − mean) · scale."""
    blob: Floats32 = cv2.dnn.blobFromImage(image, scale, mean=(mean, mean, mean))
    return blob
