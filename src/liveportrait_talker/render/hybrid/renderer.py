"""The hybrid renderer: mouths that the networks draw once a portrait, played by the embedded renderer.

The networks take seconds a frame on a CPU, the mesh milliseconds. What the mesh lacks is the inside of a mouth that the
portrait does not show; ten frames by the networks give it. Source: docs/method/hybrid_renderer.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...face.tracked import TrackedSource
from ...progress import OnStep
from ..embedded.renderer import EmbeddedFace, EmbeddedRenderer
from ..protocol import Renderer
from .drawn_mouths import DrawnMouth, cached_file, draw_mouths, read_mouths, write_mouths
from .mouth_shapes import MOUTH_SHAPES

log = logging.getLogger(__name__)


class HybridRenderer:
    """Plays mouths that another renderer draws once a portrait."""

    name = "hybrid"

    def __init__(
        self, embedded: EmbeddedRenderer, load: Callable[[], Renderer], *, drawn_by: str, on_step: OnStep
    ) -> None:
        """Take the renderer that plays and the one that draws.

        Args:
            embedded: plays the mouths.
            load: returns the renderer that draws them, its networks loaded; not called for mouths in the cache.
            drawn_by: identifies those networks and their settings: others draw other mouths.
            on_step: called after each drawn mouth.
        """
        self._embedded, self._load, self._drawn_by, self._on_step = embedded, load, drawn_by, on_step

    def prepare(self, source: TrackedSource) -> EmbeddedFace:
        """Draw the mouths of a still, or take them from the cache; a video plays those of its own frames."""
        name = source.footage.name
        if not source.is_still:
            log.warning("%s is a video: the mouths of its own frames are played, the networks draw none.", name)
            return self._embedded.prepare(source)
        mouths = self._mouths_of(source)
        if left_out := len(MOUTH_SHAPES) - len(mouths):
            log.warning(
                "%d of the %d mouths that the networks drew of %s are left out: they show no face, or a shut mouth.",
                left_out,
                len(MOUTH_SHAPES),
                name,
            )
        examples = [example for mouth in mouths if (example := mouth.example()) is not None]
        return self._embedded.prepare(source, examples)

    def _mouths_of(self, source: TrackedSource) -> list[DrawnMouth]:
        cached = cached_file(source, self._drawn_by)
        if cached is not None and (stored := read_mouths(cached)) is not None:
            return stored
        mouths = draw_mouths(self._load(), source, self._on_step)
        if cached is not None:
            write_mouths(mouths, cached)
        return mouths
