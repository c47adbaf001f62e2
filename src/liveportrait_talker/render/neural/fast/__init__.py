"""W and G for inference: the functions of `nets`, with fewer operations and fewer passes over memory.

`nets` are the definition; tests hold these against them. Each is made from a loaded reference network.
"""

from .factory import uses_winograd
from .generator import FastGenerator
from .warping import FastWarping

__all__ = ["FastGenerator", "FastWarping", "uses_winograd"]
