"""Mouth motion from the sound alone, with nothing to download."""
