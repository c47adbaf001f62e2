"""Picture → tracked face: tracker, crop, measures."""
