"""Write `weights/tensors.json`: names and shapes of all networks' tensors, from their definitions.

    python scripts/list_tensors.py

Run it when the definition of a network changes.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

import liveportrait_talker
from liveportrait_talker.pipelines.networks import build_network, neural_networks


def main() -> None:
    """Write the file."""
    networks = []
    for name in neural_networks():
        with torch.device("meta"):
            state = build_network(name).state_dict()
        lines = [f"{json.dumps(key)}: {list(tensor.shape)}" for key, tensor in state.items()]
        networks.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    target = Path(liveportrait_talker.__file__).with_name("weights") / "tensors.json"
    target.write_text("{\n" + ",\n".join(networks) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
