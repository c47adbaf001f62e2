"""The hybrid renderer: drawn once, cached, and played."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion import MotionTrack, MouthControls
from liveportrait_talker.progress import OnStep
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.hybrid.mouth_shapes import MOUTH_SHAPES
from liveportrait_talker.render.hybrid.renderer import HybridRenderer
from liveportrait_talker.render.paste import paste
from liveportrait_talker.render.protocol import FaceFrame

SHAPES = len(MOUTH_SHAPES)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def portrait() -> TrackedSource:
    return track(open_footage(PORTRAIT, max_side=384))


class Drawing:
    """In place of the networks: draws the source on the mesh, with blue teeth, and counts what it draws."""

    name = "drawing"

    def __init__(self) -> None:
        self.drawn = 0

    def prepare(self, source: TrackedSource) -> Drawing:
        self.source, self.face = source, EmbeddedRenderer().prepare(source)
        return self

    def frames(self, motion: MotionTrack) -> Iterator[FaceFrame]:
        picture = self.source.footage[0]
        for frame in self.face.frames(motion):
            self.drawn += 1
            drawn = paste(picture, frame)
            changed = np.abs(drawn.astype(int) - picture).sum(axis=2) > 25
            drawn[changed] = (0.3 * drawn[changed] + 0.7 * np.array([40, 60, 250])).astype(np.uint8)
            yield FaceFrame(drawn, None, FaceCrop.window(0, 0, *source_size(self.source)), 0)


def source_size(source: TrackedSource) -> tuple[int, int]:
    return source.footage.size


class Blank(Drawing):
    """Draws no face."""

    def frames(self, motion: MotionTrack) -> Iterator[FaceFrame]:
        for frame in super().frames(motion):
            yield FaceFrame(np.full_like(frame.image, 90), None, frame.crop, 0)


def ignore(done: int, total: int) -> None:
    """Report nothing."""


def hybrid(drawing: Drawing, drawn_by: str = "weights", on_step: OnStep = ignore) -> HybridRenderer:
    return HybridRenderer(EmbeddedRenderer(), lambda: drawing, drawn_by=drawn_by, on_step=on_step)


def opened(aperture: float = 0.14) -> MotionTrack:
    motion = MotionTrack.neutral(1)
    mouth = MouthControls(np.array([[aperture, 0, 0, 0, 0]]))
    return MotionTrack(motion.fps, motion.head, motion.blink, motion.gaze, mouth)


def draw(renderer: HybridRenderer | EmbeddedRenderer, source: TrackedSource) -> np.ndarray:
    (frame,) = renderer.prepare(source).frames(opened())
    return paste(source.footage[0], frame)


def forbid() -> Drawing:
    raise AssertionError("the networks are loaded")


def test_drawn_mouths_are_played_and_drawn_once(portrait, cache):
    drawing, steps = Drawing(), []
    with_mouths = draw(hybrid(drawing, on_step=lambda *step: steps.append(step)), portrait)
    assert drawing.drawn == SHAPES and steps == [(k, SHAPES) for k in range(SHAPES + 1)]
    without = draw(EmbeddedRenderer(), portrait)
    changed = np.abs(with_mouths.astype(int) - without).sum(axis=2) > 30
    assert changed.any()
    bluer = (with_mouths[..., 2].astype(int) - with_mouths[..., 0]) - (without[..., 2].astype(int) - without[..., 0])
    assert np.median(bluer[changed]) > 20
    again = HybridRenderer(EmbeddedRenderer(), forbid, drawn_by="weights", on_step=ignore)
    assert np.array_equal(draw(again, portrait), with_mouths)
    (stored,) = (cache / "mouths").iterdir()
    stored.write_bytes(stored.read_bytes()[:3000])  # a damaged file is drawn again, and replaced
    assert np.array_equal(draw(hybrid(drawing), portrait), with_mouths) and drawing.drawn == 2 * SHAPES
    assert np.array_equal(draw(again, portrait), with_mouths)
    assert [file.name for file in (cache / "mouths").iterdir()] == [stored.name]


def test_other_weights_and_other_pictures_have_entries_of_their_own(portrait, cache):
    picture = portrait.footage[0].copy()
    picture[0, 0] ^= 1
    other = TrackedSource(Footage.from_array("other", picture), portrait.faces)
    drawing = Drawing()
    for source, drawn_by in ((portrait, "weights"), (portrait, "other weights"), (other, "weights")):
        hybrid(drawing, drawn_by).prepare(source)
    assert drawing.drawn == 3 * SHAPES and len(list((cache / "mouths").iterdir())) == 3


def test_a_neutral_track_is_the_source(portrait):
    (frame,) = hybrid(Drawing()).prepare(portrait).frames(MotionTrack.neutral(1))
    assert np.array_equal(paste(portrait.footage[0], frame), portrait.footage[0])


def test_mouths_without_a_face_are_left_out_with_one_note(portrait, caplog):
    drawing = Blank()
    for _ in range(2):
        caplog.clear()
        drawn = draw(hybrid(drawing), portrait)
        assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
            f"{SHAPES} of the {SHAPES} mouths that the networks drew of {PORTRAIT.name} are left out: they show no "
            "face, or a shut mouth."
        ]
    assert drawing.drawn == SHAPES  # that there are none is kept, too
    assert np.array_equal(drawn, draw(EmbeddedRenderer(), portrait))


def test_a_video_plays_its_own_mouths(portrait, caplog):
    frames = [portrait.footage[0]] * 2
    video = TrackedSource(Footage.from_frames("film.mp4", frames, 25.0), portrait.faces * 2)
    face = HybridRenderer(EmbeddedRenderer(), forbid, drawn_by="weights", on_step=ignore).prepare(video)
    assert len(list(face.frames(MotionTrack.neutral(2)))) == 2
    assert "film.mp4 is a video: the mouths of its own frames are played, the networks draw none." in caplog.text


def test_a_cache_that_cannot_be_used_is_a_note(portrait, cache, caplog):
    cache.write_text("a file")
    drawing = Drawing()
    hybrid(drawing).prepare(portrait)
    assert drawing.drawn == SHAPES and "are not kept in the cache" in caplog.text
