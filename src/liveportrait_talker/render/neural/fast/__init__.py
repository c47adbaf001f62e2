"""Versions of W and G for inference, with fewer operations and fewer passes over memory than the definitions in `nets`.

Each is built from a loaded reference network and tested against it (docs/method/liveportrait.md, Fast path).
"""

from .build import build_fast_network
from .factory import ConvFactory
from .generator import FastGenerator
from .warping import FastWarping

__all__ = ["ConvFactory", "FastGenerator", "FastWarping", "build_fast_network"]
