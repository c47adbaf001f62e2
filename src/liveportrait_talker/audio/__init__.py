"""Audio features per video frame (mel windows, loudness) and text-to-speech."""
