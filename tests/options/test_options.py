"""Every option has an effect, seen in the motion that a renderer is asked to draw."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from liveportrait_talker import MediaError, MotionTrack, OptionError, Talker, TalkOptions
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from sounds import syllables, write_wav


class Recorder:
    """A renderer that draws nothing and remembers what it was asked for."""

    name = "recorder"

    def prepare(self, source):
        self.source = source
        return self

    def frames(self, track: MotionTrack):
        self.track = track
        return iter(())


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Path:
    return write_wav(tmp_path_factory.mktemp("voice") / "voice.wav", syllables(8))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A second of video of the portrait, 50 frames a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = open_footage(PORTRAIT, max_side=320)[0]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=50)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for _ in range(50):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def asked(source: Path, voice: Path, **options) -> MotionTrack:
    recorder = Recorder()
    assert not list(Talker(renderer=recorder).frames(source, voice, TalkOptions(**options)))
    return recorder.track


@pytest.fixture(scope="module")
def default(voice) -> MotionTrack:
    return asked(PORTRAIT, voice)


def same(a: MotionTrack, b: MotionTrack, *channels: str) -> bool:
    parts = {"head": lambda t: t.head.rotation_deg, "mouth": lambda t: t.mouth.values}
    return all(np.array_equal(*(parts.get(c, lambda t, c=c: getattr(t, c))(t) for t in (a, b))) for c in channels)


def test_every_channel_has_its_own_switch(default, voice):
    still = asked(PORTRAIT, voice, still=True)
    assert not still.head.rotation_deg.any() and same(still, default, "blink", "gaze", "mouth")
    calm = asked(PORTRAIT, voice, blink=False)
    assert not calm.blink.any() and same(calm, default, "head", "gaze", "mouth")
    stare = asked(PORTRAIT, voice, gaze="still")
    assert not stare.gaze.any() and same(stare, default, "head", "blink", "mouth")
    mute = asked(PORTRAIT, voice, expression_scale=0.0)
    assert np.ptp(mute.mouth.values, axis=0).max() < 1e-6 and same(mute, default, "head", "blink", "gaze")


def test_amounts(default, voice):
    twice = asked(PORTRAIT, voice, head_motion=2.0)
    assert twice.head.rotation_deg == pytest.approx(2 * default.head.rotation_deg, rel=1e-5)
    classic = asked(PORTRAIT, voice, head_style="classic")
    assert 0 < np.abs(classic.head.rotation_deg).max() <= 3.0
    often = asked(PORTRAIT, voice, blink_rate=50.0)
    assert (often.blink[:, 0] > 0.99).sum() > 1.5 * (default.blink[:, 0] > 0.99).sum()
    wide = asked(PORTRAIT, voice, expression_scale=1.5)
    assert np.ptp(wide.mouth.values[:, 0]) == pytest.approx(1.5 * np.ptp(default.mouth.values[:, 0]), rel=1e-4)


def test_pupils_turn_both_ways(default, voice):
    turned = asked(PORTRAIT, voice, pupil_x=7.5, pupil_y=-15.0, gaze="still")
    assert turned.gaze == pytest.approx(np.tile([0.5, -1.0], (len(turned), 1)))


def test_frame_rate(default, voice):
    fast = asked(PORTRAIT, voice, fps=50.0)
    assert (fast.fps, len(fast)) == (50, 400) and len(default) == 200
    assert fast.mouth.values[::2, 0] == pytest.approx(default.mouth.values[:, 0], abs=0.01)


def test_a_seed_is_a_take(default, voice):
    assert same(asked(PORTRAIT, voice), default, "head", "blink", "gaze", "mouth")
    other = asked(PORTRAIT, voice, seed=3)
    assert not same(other, default, "head") and not same(other, default, "blink") and same(other, default, "mouth")


def test_a_video_keeps_its_head_its_eyes_and_its_rate(clip, voice):
    track = asked(clip, voice)
    assert track.fps == 50 and len(track) == 400
    assert not (track.head.rotation_deg.any() or track.blink.any() or track.gaze.any())
    assert np.ptp(track.mouth.values[:, 0]) > 0.05
    assert asked(clip, voice, blink=True).blink.any()


def test_only_the_frames_that_are_needed_are_tracked(clip, tmp_path):
    recorder = Recorder()
    short = write_wav(tmp_path / "short.wav", syllables(0.3))
    list(Talker(renderer=recorder).frames(clip, short))
    assert len(recorder.source.faces) == 15


def test_a_still_reference_gives_its_pose(voice, monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_CACHE", str(tmp_path))
    held = asked(PORTRAIT, voice, ref_head_pose=str(PORTRAIT))
    assert np.abs(held.head.rotation_deg).max() < 0.5, "its own"
    kept = next((tmp_path / "poses").iterdir())
    kept.write_bytes(b"")  # a damaged cache is made anew
    assert same(asked(PORTRAIT, voice, ref_head_pose=PORTRAIT), held, "head")
    assert kept.stat().st_size > 0


def test_a_reference_starts_anywhere_unless_told(clip, voice, monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_CACHE", str(tmp_path))
    poses = np.cumsum(np.random.default_rng(0).normal(size=(1000, 3)), axis=0)
    from liveportrait_talker.driving.reference import reference_head

    own = np.zeros((100, 3))
    takes = [reference_head(poses, 25.0, own, 25.0, np.random.default_rng(k), from_zero=False) for k in (0, 1)]
    firsts = [reference_head(poses, 25.0, own, 25.0, np.random.default_rng(k), from_zero=True) for k in (0, 1)]
    assert not np.array_equal(*takes) and np.array_equal(*firsts)
    assert np.abs(takes[0]).max() < 12


@pytest.mark.parametrize(
    "options",
    [
        {"still": True, "head_motion": 2.0},
        {"blink": False, "blink_rate": 40.0},
        {"head_style": "classic", "still": True},
        {"seed": -1},
        {"quality": 99},
        {"max_size": 10},
    ],
)
def test_options_that_would_do_nothing_are_refused(options):
    with pytest.raises(OptionError) as caught:
        TalkOptions(**options)
    assert "e+" not in str(caught.value)


@pytest.mark.parametrize("options", [{"head_motion": 2.0}, {"head_style": "classic"}, {"blink_rate": 40.0}])
def test_options_that_would_do_nothing_for_a_video_are_refused(clip, voice, options):
    with pytest.raises(OptionError):
        list(Talker(renderer=Recorder()).frames(clip, voice, TalkOptions(**options)))


def test_limits_on_what_is_opened(clip, voice):
    for options, word in (
        ({"max_seconds": 0.5}, "--max-seconds"),
        ({"max_megapixels": 0.2}, "portrait.png"),
    ):
        with pytest.raises(MediaError, match=word):
            list(Talker(renderer=Recorder()).frames(PORTRAIT, voice, TalkOptions(**options)))
    recorder = Recorder()
    list(Talker(renderer=recorder).frames(PORTRAIT, voice, TalkOptions(max_size=300)))
    assert max(recorder.source.footage.size) == 300


def test_an_input_is_never_the_output(voice, tmp_path):
    mine = tmp_path / "mine.png"
    mine.write_bytes(PORTRAIT.read_bytes())
    video = mine.rename(tmp_path / "mine.mp4")
    with pytest.raises(MediaError, match="inputs"):
        Talker().save(video, voice, video, overwrite=True)
    assert video.read_bytes() == PORTRAIT.read_bytes()


def test_a_face_that_leaves_is_not_painted_on_what_follows():
    picture = open_footage(PORTRAIT, max_side=320)[0]
    nothing = np.full_like(picture, 128)
    source = track(Footage.from_frames("clip", [picture] * 12 + [nothing] * 20 + [picture] * 4, fps=25))
    assert [source.shows_face(k) for k in (0, 11, 25, 34)] == [True, True, False, True]
    from liveportrait_talker.motion import HeadTrack, MouthControls
    from liveportrait_talker.render.composite import paste
    from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer

    mouth = MouthControls(np.tile([0.15, 0, 0, 0, 0], (36, 1)))
    motion = MotionTrack(25, HeadTrack.still(36), np.zeros((36, 2)), np.zeros((36, 2)), mouth)
    drawn = [paste(source.footage[f.source_index], f) for f in EmbeddedRenderer().prepare(source).frames(motion)]
    assert (drawn[25] == nothing).all()
    assert (drawn[5] != picture).any() and (drawn[35] != picture).any()


def test_lips_on_the_pictures_edge_do_no_harm():
    picture = open_footage(PORTRAIT, max_side=400)[0]
    shifted = np.ascontiguousarray(np.roll(picture, 170, axis=0))
    shifted[:170] = picture[:1]
    from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
    from liveportrait_talker.motion import HeadTrack, MouthControls
    from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer

    face = track(Footage.from_array("whole", picture)).faces[0]
    for down in range(90, 260, 10):
        moved = TrackedFace(face.landmarks + np.array([0.0, down, 0.0]))
        source = TrackedSource(Footage.from_array("cut", shifted), (moved,))
        motion = MotionTrack(
            25,
            HeadTrack.turning(np.array([[5.0, 5, 5]])),
            np.ones((1, 2)),
            np.ones((1, 2)),
            MouthControls(np.full((1, 5), 0.1)),
        )
        assert len(list(EmbeddedRenderer().prepare(source).frames(motion))) == 1


@pytest.mark.parametrize("fps", [1.0, 2.0, 25.0])
def test_a_voice_is_heard_at_any_frame_rate(tmp_path, caplog, fps):
    asked(PORTRAIT, write_wav(tmp_path / "v.wav", syllables(1)), fps=fps)
    assert "no voice" not in caplog.text
    asked(PORTRAIT, write_wav(tmp_path / "s.wav", np.zeros(16_000)), fps=fps)
    assert "no voice is heard" in caplog.text


def test_a_reference_that_is_not_there_is_told_at_once(tmp_path, voice):
    recorder = Recorder()
    recorder.prepare = None  # would fail if it came so far
    for name in ("ref_head_pose", "ref_blink"):
        with pytest.raises(MediaError, match=r"none\.mp4"):
            list(Talker(renderer=recorder).frames(PORTRAIT, voice, TalkOptions(**{name: tmp_path / "none.mp4"})))
