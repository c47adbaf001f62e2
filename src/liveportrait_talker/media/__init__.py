"""Files ↔ arrays: sound, pictures and video in, video out. The one home of PyAV and Pillow."""

from .footage import Footage, open_footage
from .sound import read_waveform
from .waveform import Waveform
from .writer import VideoWriter, check_encoder, check_output

__all__ = ["Footage", "VideoWriter", "Waveform", "check_encoder", "check_output", "open_footage", "read_waveform"]
