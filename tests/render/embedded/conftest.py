"""The bundled portrait, as most tests of the embedded renderer draw it."""

from __future__ import annotations

import pytest

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage
from liveportrait_talker.render.embedded.renderer import EmbeddedFace, EmbeddedRenderer


@pytest.fixture(scope="module")
def source() -> TrackedSource:
    """The portrait."""
    return track(open_footage(PORTRAIT))


@pytest.fixture(scope="module")
def prepared(source: TrackedSource) -> EmbeddedFace:
    """The portrait, prepared."""
    return EmbeddedRenderer().prepare(source)
