"""Motion over time, in NumPy only: the motion track, synthetic motion, smoothing and template files."""

from .blink import natural_blinks
from .breath import natural_breath
from .classic import classic_head_pose
from .gaze import idle_gaze
from .head import natural_head_pose
from .keyframes import keyframe_angles
from .lips import controls_from_keypoints, keypoints_from_controls
from .smoothing import kalman_smooth
from .track import HeadTrack, LipKeypoints, MotionTrack, Mouth, MouthControls

__all__ = [
    "HeadTrack",
    "LipKeypoints",
    "MotionTrack",
    "Mouth",
    "MouthControls",
    "classic_head_pose",
    "controls_from_keypoints",
    "idle_gaze",
    "kalman_smooth",
    "keyframe_angles",
    "keypoints_from_controls",
    "natural_blinks",
    "natural_breath",
    "natural_head_pose",
]
