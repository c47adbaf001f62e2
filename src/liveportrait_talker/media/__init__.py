"""Files ↔ arrays: sound, pictures and video in, video out. The one home of PyAV and Pillow."""

from liveportrait_talker.media.footage import Footage, open_footage
from liveportrait_talker.media.sound import read_waveform
from liveportrait_talker.media.waveform import Waveform
from liveportrait_talker.media.writer import VideoWriter, check_output

__all__ = ["Footage", "VideoWriter", "Waveform", "check_output", "open_footage", "read_waveform"]
