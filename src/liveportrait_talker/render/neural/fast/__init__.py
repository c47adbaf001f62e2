"""W and G for inference: the functions of `nets`, with fewer operations and fewer passes over memory.

`nets` are the definition; tests hold these against them. Each is made from a loaded reference network.
"""

from .factory import Convolutions
from .generator import FastGenerator
from .twin import fast_twin
from .warping import FastWarping

__all__ = ["Convolutions", "FastGenerator", "FastWarping", "fast_twin"]
