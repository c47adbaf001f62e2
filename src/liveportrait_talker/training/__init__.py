"""Training data and training: videos in, a MappingNet out. One stage a module, each resumable."""
