"""Read audio, images and video; write images and video. Only this package uses PyAV and Pillow."""

from .audio_file import read_waveform
from .footage import Footage, open_footage
from .mix import Mix, MixPart
from .waveform import Waveform
from .writer import VideoWriter, check_encoder, check_output

__all__ = [
    "Footage",
    "Mix",
    "MixPart",
    "VideoWriter",
    "Waveform",
    "check_encoder",
    "check_output",
    "open_footage",
    "read_waveform",
]
