"""A face that speaks while the sound is still coming."""
