"""The embedded renderer, which warps the source on a face mesh and needs no downloaded weights."""
