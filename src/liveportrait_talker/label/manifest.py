"""What content credentials of an output state (docs/label.md, What is written)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__

TOOL = {"name": "LivePortraitTalker", "version": __version__}
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED, SYNTHETIC = "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic"
"""IPTC's digital source types of what is drawn by trained weights, and by the embedded renderer alone."""
HASH = "sha256:"


@dataclass(frozen=True)
class Ingredient:
    """An input file. Neither its name nor its content is stated."""

    role: str
    """What it was used for, such as source or voice."""
    sha256: str
    """Of its content, in hexadecimal."""


def build_manifest(
    *, title: str, description: str, trained: bool, opened: bool, ingredients: Sequence[Ingredient]
) -> dict[str, Any]:
    """Return the manifest of an output, for `c2pa.Builder`.

    Args:
        title: of the output.
        description: what was done, a sentence.
        trained: trained weights drew the face or moved it.
        opened: the first ingredient was edited: a picture into a picture, or a video into a video. Otherwise the output
            is new.
        ingredients: the inputs, the source first.
    """
    labels = [f"input{k}" for k in range(len(ingredients))]
    made = {
        "action": "c2pa.edited" if opened else "c2pa.created",
        "description": description,
        "digitalSourceType": SOURCE_TYPES + (TRAINED if trained else SYNTHETIC),
        "softwareAgent": TOOL,
        "parameters": {"ingredientIds": labels[1:] if opened else labels},
    }
    opening = {"action": "c2pa.opened", "parameters": {"ingredientIds": labels[:1]}}
    return {
        "title": title,
        "claim_generator_info": [TOOL],
        "ingredients": [
            {
                "label": label,
                "title": each.role,
                "instance_id": HASH + each.sha256,
                "relationship": "parentOf" if opened and label == labels[0] else "inputTo",
            }
            for label, each in zip(labels, ingredients, strict=True)
        ],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [opening, made] if opened else [made], "allActionsIncluded": True},
            }
        ],
    }
