"""Weights: a name → a verified file → a state dict. Knows no network.

`registry` (what was released) → `download` or `importing` (into the store, converted once) → `store` (where files lie,
and whether they may be trusted) → `importing.load`. Neither torch, safetensors nor HTTP is loaded before it is needed.
"""
