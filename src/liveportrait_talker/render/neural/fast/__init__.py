"""W and G for inference: the functions of `nets`, with fewer operations and fewer passes over memory.

`nets` are the definition; tests hold these against them. Each is made from a loaded reference network.
"""

from .generator import FastGenerator
from .plane import uses_winograd
from .warping import FastWarping

__all__ = ["FastGenerator", "FastWarping", "uses_winograd"]
