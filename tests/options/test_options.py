"""The effect of each option on the motion that a renderer receives."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from liveportrait_talker import MediaError, MotionTrack, OptionError, Talker, TalkOptions
from liveportrait_talker.driving import reference
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from sounds import syllables, write_wav


class RecordingRenderer:
    """A renderer that draws nothing and keeps its input."""

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
    """A video of the portrait: 1 s at 50 fps."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    image = open_footage(PORTRAIT, max_side=320)[0]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=50)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for _ in range(50):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def record_motion(source: Path, voice: Path, **options) -> MotionTrack:
    recorder = RecordingRenderer()
    assert not list(Talker(renderer=recorder).frames(source, voice, TalkOptions(**options)))
    return recorder.track


@pytest.fixture(scope="module")
def default(voice) -> MotionTrack:
    return record_motion(PORTRAIT, voice)


def same(a: MotionTrack, b: MotionTrack, *channels: str) -> bool:
    parts = {"head": lambda t: t.head.rotation_deg, "mouth": lambda t: t.mouth.values}
    return all(np.array_equal(*(parts.get(c, lambda t, c=c: getattr(t, c))(t) for t in (a, b))) for c in channels)


def test_each_channel_can_be_switched_off(default, voice):
    still = record_motion(PORTRAIT, voice, still=True)
    assert not still.head.rotation_deg.any() and same(still, default, "blink", "gaze", "mouth")
    calm = record_motion(PORTRAIT, voice, blink=False)
    assert (calm.blink <= 0).all() and same(calm, default, "head", "gaze", "mouth")
    stare = record_motion(PORTRAIT, voice, gaze="still")
    assert not stare.gaze.any() and same(stare, default, "head", "blink", "mouth")
    mute = record_motion(PORTRAIT, voice, expression_scale=0.0)
    assert np.ptp(mute.mouth.values, axis=0).max() < 1e-6 and same(mute, default, "head", "blink", "gaze")


def test_amounts_scale_the_motion(default, voice):
    twice = record_motion(PORTRAIT, voice, head_motion=2.0)
    assert twice.head.rotation_deg == pytest.approx(2 * default.head.rotation_deg, rel=1e-5)
    classic = record_motion(PORTRAIT, voice, head_style="classic")
    assert 0 < np.abs(classic.head.rotation_deg).max() <= 3.0
    often = record_motion(PORTRAIT, voice, blink_rate=50.0)
    assert (often.blink[:, 0] > 0.99).sum() > 1.5 * (default.blink[:, 0] > 0.99).sum()
    wide = record_motion(PORTRAIT, voice, expression_scale=1.5)
    assert np.ptp(wide.mouth.values[:, 0]) == pytest.approx(1.5 * np.ptp(default.mouth.values[:, 0]), rel=1e-4)


def test_pupil_offsets_set_the_gaze(default, voice):
    turned = record_motion(PORTRAIT, voice, pupil_x=7.5, pupil_y=-15.0, gaze="still")
    assert turned.gaze == pytest.approx(np.tile([0.5, -1.0], (len(turned), 1)))


def test_frame_rate_does_not_change_the_mouth(default, voice):
    fast = record_motion(PORTRAIT, voice, fps=50.0)
    assert (fast.fps, len(fast)) == (50, 400) and len(default) == 200
    assert fast.mouth.values[::2, 0] == pytest.approx(default.mouth.values[:, 0], abs=0.01)


def test_seed_changes_all_but_the_mouth(default, voice):
    assert same(record_motion(PORTRAIT, voice), default, "head", "blink", "gaze", "mouth")
    other = record_motion(PORTRAIT, voice, seed=3)
    assert not same(other, default, "head") and not same(other, default, "blink") and same(other, default, "mouth")


def test_video_source_keeps_its_head_eyes_and_frame_rate(clip, voice):
    track = record_motion(clip, voice)
    assert track.fps == 50 and len(track) == 400
    assert not (track.head.rotation_deg.any() or track.blink.any() or track.gaze.any())
    assert np.ptp(track.mouth.values[:, 0]) > 0.05
    assert record_motion(clip, voice, blink=True).blink.any()


def test_only_the_needed_frames_are_tracked(clip, tmp_path):
    recorder = RecordingRenderer()
    short = write_wav(tmp_path / "short.wav", syllables(0.3))
    list(Talker(renderer=recorder).frames(clip, short))
    assert len(recorder.source.faces) == 15


def test_still_reference_sets_the_pose(voice, monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_CACHE", str(tmp_path))
    held = record_motion(PORTRAIT, voice, ref_head_pose=str(PORTRAIT))
    assert np.abs(held.head.rotation_deg).max() < 0.5  # its own pose
    cached = next((tmp_path / "poses").iterdir())
    cached.write_bytes(b"")  # a damaged file is replaced
    assert same(record_motion(PORTRAIT, voice, ref_head_pose=PORTRAIT), held, "head")
    assert cached.stat().st_size > 0


def test_reference_starts_at_a_random_frame_by_default(clip, voice, monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_CACHE", str(tmp_path))
    poses = np.cumsum(np.random.default_rng(0).normal(size=(1000, 3)), axis=0)
    from liveportrait_talker.driving.reference import reference_head

    own = np.zeros((100, 3))
    random = [reference_head(poses, 25.0, own, 25.0, np.random.default_rng(k), from_zero=False) for k in (0, 1)]
    from_zero = [reference_head(poses, 25.0, own, 25.0, np.random.default_rng(k), from_zero=True) for k in (0, 1)]
    assert not np.array_equal(*random) and np.array_equal(*from_zero)
    assert np.abs(random[0]).max() < 12


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
def test_options_without_effect_are_refused(options):
    with pytest.raises(OptionError) as caught:
        TalkOptions(**options)
    assert "e+" not in str(caught.value)


@pytest.mark.parametrize("options", [{"head_motion": 2.0}, {"head_style": "classic"}, {"blink_rate": 40.0}])
def test_options_without_effect_on_a_video_are_refused(clip, voice, options):
    with pytest.raises(OptionError):
        list(Talker(renderer=RecordingRenderer()).frames(clip, voice, TalkOptions(**options)))


def test_limits_on_duration_and_size(clip, voice):
    for options, expected in (
        ({"max_seconds": 0.5}, "--max-seconds"),
        ({"max_megapixels": 0.2}, "portrait.png"),
    ):
        with pytest.raises(MediaError, match=expected):
            list(Talker(renderer=RecordingRenderer()).frames(PORTRAIT, voice, TalkOptions(**options)))
    recorder = RecordingRenderer()
    list(Talker(renderer=recorder).frames(PORTRAIT, voice, TalkOptions(max_size=300)))
    assert max(recorder.source.footage.size) == 300


def test_output_may_not_be_an_input(voice, tmp_path):
    video = tmp_path / "portrait.mp4"
    video.write_bytes(PORTRAIT.read_bytes())
    with pytest.raises(MediaError, match="inputs"):
        Talker().save(video, voice, video, overwrite=True)
    assert video.read_bytes() == PORTRAIT.read_bytes()


def test_frames_without_the_face_are_not_changed():
    image = open_footage(PORTRAIT, max_side=320)[0]
    empty = np.full_like(image, 128)
    source = track(Footage.from_frames("clip", [image] * 12 + [empty] * 20 + [image] * 4, fps=25))
    assert [source.shows_face(k) for k in (0, 11, 25, 34)] == [True, True, False, True]
    from liveportrait_talker.motion import HeadTrack, MouthControls
    from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
    from liveportrait_talker.render.paste import paste

    mouth = MouthControls(np.tile([0.15, 0, 0, 0, 0], (36, 1)))
    motion = MotionTrack(25, HeadTrack.still(36), np.zeros((36, 2)), np.zeros((36, 2)), mouth)
    drawn = [paste(source.footage[f.source_index], f) for f in EmbeddedRenderer().prepare(source).frames(motion)]
    assert (drawn[25] == empty).all()
    assert (drawn[5] != image).any() and (drawn[35] != image).any()


def test_lips_at_the_edge_of_the_image():
    image = open_footage(PORTRAIT, max_side=400)[0]
    shifted = np.ascontiguousarray(np.roll(image, 170, axis=0))
    shifted[:170] = image[:1]
    from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
    from liveportrait_talker.motion import HeadTrack, MouthControls
    from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer

    face = track(Footage.from_array("whole", image)).faces[0]
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
def test_voice_is_detected_at_any_frame_rate(tmp_path, caplog, fps):
    record_motion(PORTRAIT, write_wav(tmp_path / "v.wav", syllables(1)), fps=fps)
    assert "no voice" not in caplog.text
    record_motion(PORTRAIT, write_wav(tmp_path / "s.wav", np.zeros(16_000)), fps=fps)
    assert "no voice is heard" in caplog.text


def test_missing_reference_is_reported_before_rendering(tmp_path, voice):
    recorder = RecordingRenderer()
    recorder.prepare = None  # a call fails
    for name in ("ref_head_pose", "ref_blink"):
        with pytest.raises(MediaError, match=r"none\.mp4"):
            list(Talker(renderer=recorder).frames(PORTRAIT, voice, TalkOptions(**{name: tmp_path / "none.mp4"})))


def test_frames_from_zero_needs_a_reference_of_either_kind():
    for name in ("ref_head_pose", "ref_blink"):
        assert TalkOptions(ref_frames_from_zero=True, **{name: "a.mp4"}).ref_frames_from_zero
    with pytest.raises(OptionError, match="is about a reference"):
        TalkOptions(ref_frames_from_zero=True)


def test_head_and_blinks_of_one_reference_stay_in_step(clip, voice, monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_CACHE", str(tmp_path))
    seen = reference.ReferenceMotion(np.zeros((9000, 3)), np.full((9000, 2), 0.3), 25.0)
    monkeypatch.setattr("liveportrait_talker.pipelines.motion.track_reference", lambda *given, **named: seen)
    taken, select = [], reference._select_frames
    monkeypatch.setattr(reference, "_select_frames", lambda *given: taken.append(select(*given)) or taken[-1])
    record_motion(PORTRAIT, voice, ref_head_pose=clip, ref_blink=clip)
    head, blinks = taken
    assert np.array_equal(head, blinks) and head[0] > 0
