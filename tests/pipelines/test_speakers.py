"""Several speakers in one picture or video: every face speaks with its own voice, and with no other's."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker import FaceFrame, Talker, TalkerError, TalkOptions
from liveportrait_talker.cli.main import main
from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.tracked import TrackedFace
from liveportrait_talker.face.windows import divide_picture
from liveportrait_talker.media import read_waveform
from liveportrait_talker.render.scene import own_part
from shared import DATA, needs_shared
from sounds import write_wav
from speaker_scenes import SCENES

SECONDS = 3.0
VOICES = ("en_man.wav", "de_woman.ogg", "zh_woman.wav", "song_en.ogg")


@dataclass
class Result:
    """What a scene shows, for each person; NaN where the face is not there."""

    together: np.ndarray
    """(people, T) aperture while all speak in turn."""
    alone: np.ndarray
    """(people, T) aperture of each where nobody else has a voice."""
    silent: np.ndarray
    """(people, T) whether the person says nothing."""


def measure_apertures(images, places):
    """Return the aperture (people, T) at the places where faces are known to be."""
    finder = FaceFinder()
    values = np.full((len(places), len(places[0])), np.nan)
    for t, image in enumerate(images):
        here = [(k, where[t % len(where)]) for k, where in enumerate(places) if where[t % len(where)] is not None]
        found = finder.find(image)
        for k, (x, y) in here:
            apart = [np.hypot(*(face[:, :2].mean(axis=0) - (x, y))) for face in found]
            if apart and min(apart) < 60:
                values[k, t] = TrackedFace(found[int(np.argmin(apart))]).aperture
    return values


def run(name, folder):
    scene = SCENES[name]()
    source = scene.write(folder, "scene")
    people = len(scene.places)
    fps = scene.fps
    options = TalkOptions(renderer="embedded", driver="signal", fps=fps)
    frames = round(SECONDS * fps) if scene.is_still else len(scene.frames)
    seconds = frames / fps
    spoken = {}
    silent = np.ones((people, frames), bool)
    for k in range(people):
        # In turn, twice around, so that shots of one person have both speech and silence.
        length = seconds / (2 * people)
        sound = read_waveform(DATA / "voices" / VOICES[k]).samples[8000:]
        samples = np.zeros(round(seconds * 16_000), np.float32)
        for turn in (k, k + people):
            start = round(turn * length * 16_000)
            end = min(start + round(length * 16_000), len(samples))
            samples[start:end] = np.resize(sound, len(samples))[start:end]
            first, last = int((turn * length - 0.35) * fps), int(((turn + 1) * length + 0.45) * fps) + 1
            silent[k, max(first, 0) : last] = False
        spoken[k + 1] = write_wav(folder / f"{k}.wav", samples)
    places = [where * frames if scene.is_still else where for where in scene.places]
    talker = Talker()
    together = measure_apertures(talker.frames(source, spoken, options), places)
    alone = np.full_like(together, np.nan)
    for k, voice in spoken.items():
        alone[k - 1] = measure_apertures(talker.frames(source, {k: voice}, options), places)[k - 1]
    return Result(together, alone, silent)


def correlation(one, other):
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 8 or one[both].std() < 1e-3 or other[both].std() < 1e-3:
        return float("nan")
    return float(np.corrcoef(one[both], other[both])[0, 1])


QUICK = (
    "two of different size",
    "three overlapping",
    "far behind",
    "sides change",
    "one comes later",
)
"""Scenes that every run tests; LPT_ALL_SCENES=1 adds the others, ten more minutes on one core."""


@needs_shared
@pytest.mark.parametrize("name", SCENES if os.environ.get("LPT_ALL_SCENES") else QUICK)
def test_every_face_has_its_own_voice(name, tmp_path):
    seen = run(name, tmp_path)
    people = len(seen.together)
    rs = np.array([[correlation(seen.together[k], seen.alone[j]) for j in range(people)] for k in range(people)])
    quiet = [seen.together[k][seen.silent[k] & np.isfinite(seen.together[k])] for k in range(people)]
    rest = [float(values.mean()) for values in quiet if len(values)]
    print(name, np.round(rs, 2).tolist(), np.round(rest, 3).tolist())  # for the record; pytest shows it with -s
    assert np.diag(rs).min() >= 0.95  # NaN, of a mouth that does not move, fails as well
    # Two who are never seen together cannot be compared.
    assert max((r for r in rs[~np.eye(people, dtype=bool)] if np.isfinite(r)), default=-1) <= 0.3
    assert max(rest, default=0) <= 0.02


def faces_at(places, iod=60.0):
    """Return faces of the shape of a real one at (x, y, size)."""
    return [TrackedFace(FACE * (size * iod) + np.array([x, y, 0])) for x, y, size in places]


FACE = np.random.default_rng(0).uniform(-1, 1, (478, 3)).astype(np.float32)
FACE[[33, 263]] = [[-0.5, -0.3, 0], [0.5, -0.3, 0]]


@given(
    st.lists(st.tuples(st.floats(60, 900), st.floats(60, 500), st.floats(0.4, 2)), min_size=1, max_size=6),
)
def test_the_parts_of_a_picture_cover_it_without_overlap(places):
    owner = np.zeros((560, 960), int)
    for left, top, right, bottom in divide_picture(faces_at(places), (960, 560)):
        assert left < right and top < bottom
        owner[top:bottom, left:right] += 1
    assert (owner == 1).all()


@given(
    st.tuples(st.floats(300, 660), st.floats(200, 360), st.floats(1.0, 1.5)),
    st.tuples(st.floats(100, 860), st.floats(100, 460), st.floats(0.5, 0.9)),
)
def test_the_larger_of_two_faces_is_in_front(one, other):
    window = (0, 0, 960, 560)
    front, behind = faces_at([one, other])
    mine, theirs = own_part(front, [behind], window), own_part(behind, [front], window)
    x, y = (round(v) for v in one[:2])
    assert mine is None or mine[y, x] == 1
    assert theirs is None or theirs[y, x] == 0


class Stripes:
    """A renderer that paints the whole face window in one colour, with a soft border as the networks' faces have."""

    name = "stripes"

    def __init__(self):
        self.colours = iter([(255, 0, 0), (0, 255, 0), (0, 0, 255)])

    def prepare(self, source):
        return StripedFace(source, next(self.colours))


class StripedFace:
    def __init__(self, source, colour):
        self.source, self.colour = source, colour

    def frames(self, track):
        for index in self.source.frame_indices(len(track), track.fps):
            crop = self.source.faces[int(index)].crop
            image = np.zeros((512, 512, 3), np.uint8) + np.array(self.colour, np.uint8)
            yield FaceFrame(image, np.full((512, 512), 0.9, np.float32), crop, int(index))


@needs_shared
@pytest.mark.parametrize("name", ["two photos", "wide shot"])
def test_any_renderer_draws_each_face_in_its_own_place(name, tmp_path):
    """Crops of half a picture, as those of the networks, do not paint over the neighbour's face."""
    scene = SCENES[name]()
    source = scene.write(tmp_path, "scene")
    voice = write_wav(tmp_path / "voice.wav", np.zeros(8000, np.float32))
    talker = Talker(renderer=Stripes())
    image = next(talker.frames(source, {1: voice, 2: voice}, TalkOptions(fps=scene.fps)))
    for k, where in enumerate(scene.places):
        x, y = (round(v) for v in where[0])
        assert image[y, x].argmax() == k and image[y, x].max() > 200


@needs_shared
def test_listeners_look_at_who_speaks(tmp_path):
    scene = SCENES["two photos"]()
    source = scene.write(tmp_path, "scene")
    recorder = Recorder()
    voice = DATA / "voices" / "en_man.wav"
    next(Talker(renderer=recorder).frames(source, {"left": voice}, TalkOptions()))
    left, right = recorder.tracks  # in the order of their numbers, the larger face first
    looks = right.gaze[:, 0] < -0.4
    assert 0.2 < looks.mean() < 0.9
    assert right.head.rotation_deg[looks, 1].mean() < left.head.rotation_deg[:, 1].mean() + 3
    assert np.ptp(right.mouth.values[:, 0]) < 1e-6 and np.ptp(left.mouth.values[:, 0]) > 0.05
    still = Recorder()
    next(Talker(renderer=still).frames(source, {"left": voice}, TalkOptions(gaze="still")))
    assert not any((track.gaze[:, 0] < -0.4).any() for track in still.tracks)


class Recorder:
    """A renderer that keeps the motion that it is asked to draw."""

    name = "recorder"

    def __init__(self):
        self.tracks = []

    def prepare(self, source):
        return RecordedFace(self, source)


class RecordedFace:
    def __init__(self, recorder, source):
        self.recorder, self.source = recorder, source

    def frames(self, track):
        self.recorder.tracks.append(track)
        for _ in range(len(track)):
            yield FaceFrame(self.source.footage[0][:1, :1], None, FaceCrop.window(0, 0, 1, 1), 0)


@needs_shared
@pytest.mark.parametrize(
    ("speakers", "options", "reason"),
    [
        ({3: "voice.wav"}, {}, "has 2 face"),
        ({"middle": "voice.wav"}, {}, "none is called middle"),
        ({1: "voice.wav", "left": "voice.wav", "right": "voice.wav"}, {}, "the same face"),
        ({1: "voice.wav"}, {"face": 2}, "--face is about one face"),
        ({1: "voice.wav"}, {"crop": True}, "--crop is about one face"),
    ],
)
def test_mistakes_are_explained(speakers, options, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "voice.wav", np.zeros(8000, np.float32))
    source = SCENES["two photos"]().write(tmp_path, "scene")
    with pytest.raises(TalkerError, match=reason):
        next(Talker(renderer=Recorder()).frames(source, speakers, TalkOptions(**options)))


@needs_shared
def test_the_command_line_numbers_faces_and_gives_them_voices(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    SCENES["two of different size"]().write(tmp_path, "scene")
    write_wav(tmp_path / "call.wav", np.zeros(12_000, np.float32))
    (tmp_path / "who.rttm").write_text("SPEAKER call 1 0 0.3 <NA> <NA> ann <NA> <NA>\n")
    assert main(["faces", "scene.png", "-o", "numbered.png", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [face["number"] for face in listed] == [1, 2] and [face["place"] for face in listed] == ["left", "right"]
    assert listed[0]["eye_distance"] > listed[1]["eye_distance"] and (tmp_path / "numbered.png").exists()
    generate = ["generate", "scene.png", "-o", "out.mp4", "--renderer", "embedded"]
    assert main([*generate, "call.wav", "--turns", "who.rttm", "--speaker", "left:ann"]) == 0
    with av.open("out.mp4") as file:
        assert file.streams.audio and file.streams.video[0].frames == 19
    for wrong in (
        ["call.wav", "--speaker", "1:call.wav"],
        ["--speaker", "call.wav"],
        ["--turns", "who.rttm", "--speaker", "1:ann"],
        ["call.wav", "--turns", "who.rttm"],
        ["call.wav", "--turns", "who.rttm", "--speaker", "1:bob"],
        ["--speaker", "1:call.wav", "--speaker", "1:call.wav"],
    ):
        assert main([*generate, *wrong, "--overwrite"]) == 2
        assert capsys.readouterr().err.count("error:") == 1
