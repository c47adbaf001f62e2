"""Segment person and background with MediaPipe's selfie segmentation (docs/method/face_models.md)."""

from __future__ import annotations

import cv2

from ..arrays import Floats, Image
from .networks import FaceNetwork, image_input
from .regions import sample_image

_SIZE = 256  # px of the network's input and output


class PersonSegmenter:
    """Segments the person. Outlines are accurate to about 1/256 of the image; thin strands of hair are lost."""

    def __init__(self) -> None:
        self._network = FaceNetwork("selfie_segmentation", ["image"], ["person"])

    def segment(self, image: Image) -> Floats:
        """Return a mask (H, W) float32, 0 background … 1 person, of an (H, W, 3) uint8 RGB image."""
        (mask,) = self._network.run(image_input(sample_image(image, _SIZE), scale=1 / 255))
        height, width = image.shape[:2]
        person: Floats = cv2.resize(mask[0, 0], (width, height), interpolation=cv2.INTER_LINEAR)
        return person
