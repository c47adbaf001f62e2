"""Live sessions for other programs."""
