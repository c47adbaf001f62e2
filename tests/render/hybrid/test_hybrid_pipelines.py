"""The hybrid renderer in all pipelines: plumbing with synthetic weights, and a real clip in place of the networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from liveportrait_talker import OptionError, Talker, TalkOptions, WeightsError
from liveportrait_talker.cli.main import main
from liveportrait_talker.driving.retargeting import Rest, retarget_motion
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.mouth_offsets import measure_source_mouth
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion import MotionTrack
from liveportrait_talker.options.applicability import flags_without_effect
from liveportrait_talker.pipelines.edit import EditOptions, Editor, EditSetup
from liveportrait_talker.pipelines.engines import Engines
from liveportrait_talker.render.embedded.mouth_colours import to_lab
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.hybrid.mouth_shapes import MOUTH_SHAPES
from liveportrait_talker.render.hybrid.renderer import HybridRenderer
from liveportrait_talker.render.paste import paste
from liveportrait_talker.render.protocol import FaceFrame
from shared import DATA, needs_shared
from sounds import syllables, write_wav

INNER_LIPS = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_all_pipelines_and_drawn_once(store, tmp_path, capsys, caplog, cache, draw_noise, monkeypatch, driving_clip):
    """Noise of synthetic networks shows no face: nothing is played. That too is drawn once."""
    monkeypatch.setenv("LPT_MODELS", str(store))
    count, stages = len(MOUTH_SHAPES), []
    session = Editor().open(
        PORTRAIT, "hybrid", EditSetup(max_size=300), on_progress=lambda stage, done, total: stages.append(stage)
    )
    assert session.renderer == "hybrid" and stages == ["drawing mouths by the networks"] * (count + 1)
    assert not np.array_equal(session.draw(EditOptions(smile=1.0)), session.picture)
    note = f"{count} of the {count} mouths that the networks drew of {PORTRAIT.name} are left out"
    assert note in caplog.text
    (entry,) = (cache / "mouths").iterdir()

    def refuse(*_, **__) -> None:
        raise AssertionError("the networks are loaded")

    monkeypatch.setattr("liveportrait_talker.render.neural.liveportrait.LivePortrait", refuse)
    sound, out = write_wav(tmp_path / "v.wav", syllables(0.5)), tmp_path / "out.mp4"
    for words in (["generate", PORTRAIT, sound], ["animate", PORTRAIT, driving_clip]):
        options = ["-o", out, "--overwrite", "--renderer", "hybrid", "--max-size", 300, "--fps", 5, "--json"]
        assert main([str(word) for word in (*words, *options)]) == 0
        printed = capsys.readouterr()
        report = json.loads(printed.out)
        assert (report["renderer"], report["renderer_reason"]) == ("hybrid", "as asked for") and note in printed.err
    assert list((cache / "mouths").iterdir()) == [entry]


def test_without_weights_it_names_the_download_command(tmp_path, monkeypatch):
    monkeypatch.setenv("LPT_MODELS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match=r"the hybrid renderer cannot run: .*models download liveportrait;"):
        Engines().choose_renderer(TalkOptions(renderer="hybrid"))


def test_options_of_both_renderers_have_an_effect():
    options = TalkOptions(renderer="hybrid", device="cpu", precision="fp32", compile="off")
    assert flags_without_effect(options, "hybrid", "signal") == []
    assert flags_without_effect(TalkOptions(batch_size=2), "hybrid", "signal") == ["--batch-size"]
    with pytest.raises(
        OptionError, match="--no-stitching is about the neural renderer: leave it out with --renderer h"
    ):
        TalkOptions(renderer="hybrid", stitching=False)
    with pytest.raises(OptionError, match="--renderer hybrid and the embedded renderer that was given contradict"):
        Talker(EmbeddedRenderer())._engines.choose_renderer(TalkOptions(renderer="hybrid"))


class Clip:
    """In place of the networks: the frames of a clip whose mouths are nearest to those asked for."""

    name = "clip"

    def __init__(self, clip: TrackedSource) -> None:
        self.clip = clip
        widths = np.array([face.width for face in clip.faces])
        self.mouths = np.stack([[face.aperture for face in clip.faces], widths - np.median(widths)], axis=1)

    def prepare(self, source: TrackedSource) -> Clip:
        self.source = source
        return self

    def frames(self, motion: MotionTrack) -> Iterator[FaceFrame]:
        asked = motion.mouth.values + measure_source_mouth(self.source, len(motion), motion.fps)
        size, steady = self.source.footage.size, [33, 263, 133, 362, 168, 1]
        for aperture, spread, round, *_ in asked:
            distance = np.linalg.norm((self.mouths - (aperture, spread - round)) / (0.04, 0.08), axis=1)
            k = int(np.argmin(distance))
            ours, theirs = (face.landmarks[steady, :2] for face in (self.clip.faces[k], self.source.faces[0]))
            in_place, _ = cv2.estimateAffinePartial2D(ours, theirs)
            image = cv2.warpAffine(self.clip.footage[k], in_place, size, borderMode=cv2.BORDER_REPLICATE)
            yield FaceFrame(image, None, FaceCrop.window(0, 0, *size), 0)


def teeth_colour(image: np.ndarray, face: TrackedFace) -> np.ndarray:
    """Return the mean colour of the brightest tenth between the lips, CIELAB."""
    mask = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [np.rint(face.landmarks[INNER_LIPS, :2]).astype(int)], 1)
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8))  # without the rim of the lips
    inside = to_lab(image[mask > 0].astype(np.float32)[None])[0]
    return inside[inside[:, 0] >= np.percentile(inside[:, 0], 90)].mean(axis=0)


@needs_shared
def test_teeth_are_closer_to_those_of_the_person():
    """A frame with shut lips of a real clip follows frames that the stand-in for the networks doesn't have."""
    film = open_footage(DATA / "talking" / "feifei.mp4")
    clip = track(Footage.from_frames("clip", [film[k] for k in range(0, 150, 2)], 12.5))
    first = min(range(30), key=lambda k: clip.faces[k].aperture)
    source = TrackedSource(Footage.from_array("still", clip.footage[first]), (clip.faces[first],))
    held_out = [k for k in range(0, 75, 3) if clip.faces[k].aperture > 0.08]
    known = [k for k in range(75) if k % 3]
    footage = Footage.from_frames("known", [clip.footage[k] for k in known], 12.5)
    stand_in = Clip(TrackedSource(footage, tuple(clip.faces[k] for k in known)))
    hybrid = HybridRenderer(EmbeddedRenderer(), lambda: stand_in, drawn_by="clip", on_step=lambda *_: None)
    measured = measure_faces(clip)
    motion = retarget_motion(measured, source, rest=Rest.of_clip(measured), relative=False, normalize_lip=True)
    errors = []
    for renderer in (EmbeddedRenderer(), hybrid):
        drawn = [paste(source.footage[0], frame) for frame in renderer.prepare(source).frames(motion)]
        faces = track(Footage.from_frames("drawn", drawn, 12.5)).faces
        pairs = [(teeth_colour(clip.footage[k], clip.faces[k]), teeth_colour(drawn[k], faces[k])) for k in held_out]
        errors.append(float(np.median([np.linalg.norm(real - made) for real, made in pairs])))
    assert len(held_out) > 5 and errors[1] < 0.6 * errors[0], errors
