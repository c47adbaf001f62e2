"""Voice to features on the video clock: mel windows and loudness."""

from .loudness import loudness_db, speaking
from .mel import mel_rows, mel_windows, window_index

__all__ = ["loudness_db", "mel_rows", "mel_windows", "speaking", "window_index"]
