"""Mouth and head motion by networks: SadTalker's voice nets, its 3DMM regressor, and the MappingNet."""
