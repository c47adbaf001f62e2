"""The machine: cache, compiler, devices, locks, journals, cluster."""
