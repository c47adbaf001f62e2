"""System services: cache folders, Numba, devices, file locks, links, partial files, journals, Ray clusters."""
