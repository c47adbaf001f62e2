"""Mouth and head motion by neural networks: SadTalker's audio networks, its 3DMM regressor and the MappingNet."""
