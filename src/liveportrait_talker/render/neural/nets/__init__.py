"""Definitions of LivePortrait's networks, with the state-dict keys of the released weights."""

from .appearance import AppearanceFeatureExtractor
from .generator import SpadeGenerator
from .motion import MotionExtractor
from .stitching import PointMLP
from .warping import WarpingNetwork

__all__ = ["AppearanceFeatureExtractor", "MotionExtractor", "PointMLP", "SpadeGenerator", "WarpingNetwork"]
