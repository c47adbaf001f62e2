"""Tell the person in an image from the background (MediaPipe's selfie segmentation; docs/method/face_models.md)."""

from __future__ import annotations

import cv2

from ..arrays import Floats, Image
from .networks import FaceNetwork, image_input
from .regions import squeeze

_SIZE = 256  # px of the network's input and output


class PersonSegmenter:
    """Finds which pixels show a person. Outlines are right to about a 256th of the image; strands of hair are lost."""

    def __init__(self) -> None:
        self._network = FaceNetwork("selfie_segmentation", ["image"], ["person"])

    def segment(self, image: Image) -> Floats:
        """(H, W) float32, 0 background … 1 person, of an (H, W, 3) uint8 RGB image."""
        (mask,) = self._network.run(image_input(squeeze(image, _SIZE), scale=1 / 255))
        height, width = image.shape[:2]
        person: Floats = cv2.resize(mask[0, 0], (width, height), interpolation=cv2.INTER_LINEAR)
        return person
