"""Live faces in frameworks for voice agents."""
