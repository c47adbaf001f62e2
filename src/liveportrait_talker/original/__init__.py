"""Compatibility with the commands and the config.yaml of the 2024 original (docs/method/original.md)."""
