"""Numbers over time, NumPy only: the motion track and what makes and shapes it."""

from .blink import classic_blinks, natural_blinks
from .classic import classic_head_pose
from .gaze import idle_gaze
from .head import natural_head_pose
from .keyframes import keyframe_angles
from .lips import lip_keypoints, mouth_controls
from .smoothing import kalman_smooth
from .track import HeadTrack, LipKeypoints, MotionTrack, Mouth, MouthControls

__all__ = [
    "HeadTrack",
    "LipKeypoints",
    "MotionTrack",
    "Mouth",
    "MouthControls",
    "classic_blinks",
    "classic_head_pose",
    "idle_gaze",
    "kalman_smooth",
    "keyframe_angles",
    "lip_keypoints",
    "mouth_controls",
    "natural_blinks",
    "natural_head_pose",
]
