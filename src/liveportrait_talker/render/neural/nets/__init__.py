"""LivePortrait's networks as pure modules: the readable definitions, with the released state-dict keys."""

from .appearance import AppearanceFeatureExtractor
from .generator import SpadeGenerator
from .motion import MotionExtractor
from .stitching import PointMLP
from .warping import WarpingNetwork

__all__ = ["AppearanceFeatureExtractor", "MotionExtractor", "PointMLP", "SpadeGenerator", "WarpingNetwork"]
