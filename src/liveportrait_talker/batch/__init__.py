"""Many videos in one run: `jobs` reads a list, `work` makes one of them, `run` all of them and resumes."""
