"""W and G for inference: the functions of `nets`, with fewer operations and fewer passes over memory.

`nets` are the definition; tests hold these against them. Each is made from a loaded reference network.
"""

from .generator import FastGenerator
from .twin import fast_twin, uses_winograd
from .warping import FastWarping

__all__ = ["FastGenerator", "FastWarping", "fast_twin", "uses_winograd"]
