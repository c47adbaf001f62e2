"""Numbers over time, NumPy only: the motion track and what makes and shapes it."""

from .track import HeadTrack, LipKeypoints, MotionTrack, Mouth, MouthControls

__all__ = ["HeadTrack", "LipKeypoints", "MotionTrack", "Mouth", "MouthControls"]
