"""`bench`: speed of this machine."""
