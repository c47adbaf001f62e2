"""Networks of the learned driver as PyTorch modules with the released state-dict keys."""

from .audio2exp import Audio2Exp
from .audio2pose import Audio2Pose
from .face_3drecon import FaceRecon
from .mappingnet import MappingNet

__all__ = ["Audio2Exp", "Audio2Pose", "FaceRecon", "MappingNet"]
