"""Voices: features on the video clock (mel windows, loudness), and speech from text."""
