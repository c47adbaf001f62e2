"""Nodes that make portraits talk: LivePortraitTalker for ComfyUI.

ComfyUI imports this folder from `custom_nodes` and calls `comfy_entrypoint`. The nodes are a thin layer on the package
`liveportrait_talker`, which must be installed in ComfyUI's Python.
"""

from importlib.util import find_spec

if find_spec("liveportrait_talker") is None:
    raise ImportError(
        "these nodes need the package liveportrait_talker: install it into ComfyUI's Python with "
        "`pip install liveportrait-talker`, or `pip install .` in its checkout"
    )

from .extension import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
