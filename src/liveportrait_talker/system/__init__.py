"""System services: cache folder, Numba, devices, file locks, partial files, journals, Ray clusters."""
