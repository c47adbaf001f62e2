"""Batches of videos: `jobs` reads a list, `work` makes one video, `run` makes all of them and resumes."""
