"""Doors for users of the 2024 original: its commands and its config.yaml, onto ours (spec talker.md §14).

`schema` (how a configuration is read and checked) → `config` (what becomes of each of its keys) → `inference` (the
command). Nothing here draws or computes.
"""
