"""A live session through its public interface, unpaced: what it yields depends on the order of calls only."""

from __future__ import annotations

import threading
import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import PORTRAIT, RATE, KeepingRenderer, sound_of, start

from liveportrait_talker import LiveOptions, MediaError, OptionError, Talker, TalkerError
from liveportrait_talker.media import open_footage
from shared import DATA, needs_shared
from sounds import syllables

VOICE = syllables(2) + np.float32(1e-4)  # never exactly silent: what is delivered can be counted


def test_sound_is_delivered_whole_with_its_mouth():
    live = start()
    live.session.push(VOICE, RATE)
    live.session.end()
    frames = live.frames(80)
    assert np.array_equal(sound_of(frames)[: len(VOICE)], VOICE)
    assert not sound_of(frames)[len(VOICE) :].any()
    assert live.aperture[:50].max() > 0.05
    assert live.aperture[60:].max() <= 0.02
    assert live.session.counts.frames == 80 and live.session.pending_seconds == 0
    assert frames[0].image.shape == (256, 256, 3) and frames[0].image.dtype == np.uint8


@settings(max_examples=15)
@given(
    cuts=st.lists(st.integers(16, 12_000), min_size=1, max_size=12),
    rate=st.sampled_from((8000, 16_000, 22_050, 44_100, 48_000)),
)
def test_chunks_do_not_matter(cuts, rate):
    voice = syllables(1, rate)
    whole, pieces = start(), start()
    whole.session.push(voice, rate)
    for chunk in np.split(voice, np.minimum(np.cumsum(cuts), len(voice))):
        pieces.session.push(chunk, rate)
    for live in (whole, pieces):
        live.session.end()
    expected, got = whole.frames(40), pieces.frames(40)
    assert np.array_equal(sound_of(got), sound_of(expected))
    assert [frame.state for frame in got] == [frame.state for frame in expected]
    assert np.array_equal(pieces.aperture, whole.aperture)


@settings(max_examples=10)
@given(chunk=st.integers(16, 1500), per_frame=st.integers(1, 3))
def test_sound_that_comes_meanwhile_is_delivered_in_order(chunk, per_frame):
    live, frames, voice = start(), [], VOICE[:RATE]
    chunks = [voice[k : k + chunk] for k in range(0, len(voice), chunk)]
    while chunks:
        for part in chunks[:per_frame]:
            live.session.push(part, RATE)
        chunks = chunks[per_frame:]
        frames += live.frames(1)
    frames += live.frames(40)
    sound = sound_of(frames)
    assert np.array_equal(sound[sound != 0], voice)  # with silence where it came too late


@pytest.mark.parametrize("fps", (25, 24, 29.97, 60))
@pytest.mark.parametrize("rate", (16_000, 24_000, 44_100))
def test_no_drift_at_any_rate(fps, rate):
    live = start(fps=fps, sample_rate=rate)
    frames = live.frames(200)
    counts = np.cumsum([len(frame.samples) for frame in frames])
    assert np.abs(counts - np.arange(1, 201) * rate / fps).max() <= 0.5
    assert np.allclose([frame.time_seconds for frame in frames], np.arange(200) / fps)


def test_rates_and_types_change_midway():
    live = start(sample_rate=24_000)
    for rate in (8000, 44_100, 48_000, 24_000, 16_000):
        live.session.push((32767 * syllables(0.4, rate)).astype(np.int16), rate)
        live.session.push(syllables(0.1, rate), rate)
    live.session.end()
    assert live.session.pending_seconds == pytest.approx(2.5, abs=1e-3)
    frames = live.frames(80)
    assert np.flatnonzero(sound_of(frames))[-1] / 24_000 == pytest.approx(2.5, abs=0.2)


def test_what_is_not_finite_becomes_silence():
    voice = VOICE.copy()
    voice[3000:9000] = np.nan
    voice[100], voice[200], voice[300] = np.inf, -np.inf, 1e30
    live = start()
    live.session.push(voice, RATE)
    frames = live.frames(60)
    sound = sound_of(frames)
    assert np.isfinite(sound).all() and np.abs(sound).max() <= 1
    assert np.isfinite(live.aperture).all() and not sound[3000:9000].any()


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros((5, 2), np.float32), RATE),
        (np.zeros(5, np.int32), RATE),
        (b"abc", RATE),
        (np.zeros(5, np.float32), 4000),
        (np.zeros(5, np.float32), 96_000),
        (np.zeros(5, np.float32), 16_000.5),
    ],
)
def test_bad_sound_is_refused_in_one_sentence(samples, rate):
    live = start()
    with pytest.raises(OptionError, match="give"):
        live.session.push(samples, rate)
    assert live.session.pending_seconds == 0


def test_states():
    live = start()
    states = [frame.state for frame in live.frames(20)]
    live.session.push(VOICE, RATE)
    live.session.end()
    states += [frame.state for frame in live.frames(100)]
    changes = [after for before, after in pairwise(["idle", *states]) if after != before]
    assert changes[0] == "speaking" and changes[-1] == "idle"
    assert set(states) == {"idle", "speaking"} and states[-30:] == ["idle"] * 30


def test_clear_drops_what_waits_and_shuts_the_lips():
    live = start()
    live.session.push(VOICE, RATE)
    before = live.frames(9)
    dropped = live.session.clear()
    after = live.frames(50)
    assert before[-1].state == "speaking"
    assert not sound_of(after).any()
    assert [frame.state for frame in after[:6]] == ["interrupted"] * 4 + ["idle"] * 2
    assert live.aperture[9 + 4 :].max() <= 0.02
    assert dropped > 1.4
    assert live.session.counts.cleared_seconds == pytest.approx(2 - 9 / 25, abs=0.01)
    live.session.push(VOICE, RATE)
    sound = sound_of(live.frames(60))
    assert np.array_equal(sound[sound != 0], VOICE)


@pytest.mark.parametrize("fps", (12, 25, 30, 50, 60))
@pytest.mark.parametrize("frames", (0.3, 0.36, 0.5, 0.7))
def test_the_lips_close_from_the_mouth_that_was_shown(fps, frames):
    live = start(fps=fps)
    live.session.push(VOICE, RATE)
    live.frames(round(frames * fps))
    live.session.clear()
    after = live.frames(round(0.4 * fps))
    closing = sum(frame.state == "interrupted" for frame in after)
    assert closing == round(0.16 * fps)
    opening = live.aperture[round(frames * fps) - 1 :]
    assert (np.diff(opening[: closing + 1]) <= 1e-6).all()
    assert np.diff(opening).min() >= -0.6 * opening[0] - 0.01  # no jump
    assert opening[closing:].max() <= 0.02


def test_an_utterance_tells_that_it_is_over():
    pause = np.zeros(RATE, np.float32)
    live = start()
    live.session.push(np.concatenate([VOICE, pause, VOICE]), RATE)
    live.session.end()
    live.session.push(VOICE[: RATE // 2], RATE)
    live.session.end()
    frames = live.frames(160)
    assert [frame.state for frame in frames[60:70]].count("idle")  # in the pause
    assert [k for k, frame in enumerate(frames) if frame.ends_utterance] == [5 * 25 - 1, 5.5 * 25 // 1]
    live.session.end()
    assert live.frames(1)[0].ends_utterance  # of nothing
    live.session.push(VOICE, RATE)
    live.session.end()
    live.session.clear()
    assert not any(frame.ends_utterance for frame in live.frames(60))


def test_only_what_was_pushed_and_not_played_counts():
    live = start(paced=True, fps=50)
    live.frames(5)
    live.session.push(VOICE, RATE)  # silence is put before it
    assert live.session.pending_seconds == 2
    frames = live.frames(20)
    played = np.count_nonzero(sound_of(frames)) / RATE
    assert live.session.pending_seconds == pytest.approx(2 - played)
    assert live.session.clear() == pytest.approx(2 - played)
    assert live.session.clear() == 0
    assert live.session.pending_seconds == 0
    assert live.session.counts.cleared_seconds == pytest.approx(2 - played)


def test_what_is_being_drawn_counts_as_not_played():
    live, dropped = start(), []
    live.session.push(VOICE, RATE)
    live.frames(5)
    live.renderer.while_drawing = lambda: dropped.append(live.session.clear())
    live.frames(1)
    assert dropped == [2 - 5 / 25]


def test_an_error_while_drawing_keeps_sound_and_time_together():
    def fail() -> None:
        live.renderer.while_drawing = lambda: None
        raise RuntimeError("no memory")

    live = start()
    live.session.push(VOICE, RATE)
    live.frames(3)
    live.renderer.while_drawing = fail
    with pytest.raises(RuntimeError):
        live.frames(1)
    (frame,) = live.frames(1)
    assert frame.time_seconds == 4 / 25
    assert np.array_equal(frame.samples, VOICE[4 * 640 : 5 * 640])


def test_clear_while_a_frame_is_drawn():
    live = start()
    live.session.push(VOICE, RATE)
    live.frames(5)
    live.renderer.while_drawing = live.session.clear
    (frame,) = live.frames(1)
    assert frame.state == "interrupted" and not frame.samples.any()


def test_clear_while_nobody_speaks_changes_nothing():
    live = start()
    live.frames(3)
    live.session.clear()
    live.renderer.while_drawing = live.session.clear
    assert [frame.state for frame in live.frames(3)] == ["idle"] * 3


def test_a_hundred_interruptions():
    live = start()
    for k in range(100):
        live.session.push(VOICE[: RATE // 2], RATE)
        live.frames(3 + k % 5)
        live.session.clear()
        frames = live.frames(5)
        assert not sound_of(frames).any()
        assert live.aperture[-1] <= 0.02


def test_too_much_sound_is_dropped_and_counted(caplog):
    live = start(max_pending=2)
    for _ in range(5):
        live.session.push(VOICE, RATE)
    assert live.session.pending_seconds == 2
    assert live.session.counts.dropped_seconds == 8
    assert sum("dropped" in record.message for record in caplog.records) == 1
    frames = live.frames(75)
    assert np.array_equal(sound_of(frames)[: len(VOICE)], VOICE)


def test_listening():
    live = start()
    live.frames(25 * 180)
    closures = np.array([track.blink[0, 0] for track in live.tracks])
    shut = (closures[1:] >= 0.99) & (closures[:-1] < 0.99)
    assert 8 <= shut.sum() / 3 <= 21
    head = np.array([track.head.rotation_deg[0] for track in live.tracks])
    assert (head.std(axis=0) > 0.3).all() and (np.abs(head) < 9).all()
    assert np.abs(np.diff(head, axis=0)).max() < 1.0  # degrees a frame
    assert not head[0].any()
    gaze = np.array([track.gaze[0] for track in live.tracks])
    assert 0.6 < (gaze == 0).all(axis=1).mean() < 0.95
    assert np.ptp([track.breath[0] for track in live.tracks]) > 0.5
    assert np.abs(live.aperture).max() <= 0.02


def test_background_noise_moves_nothing():
    noise = np.random.default_rng(0).normal(0, 10 ** (-50 / 20), 20 * RATE).astype(np.float32)
    live = start()
    live.session.push(noise, RATE)
    states = {frame.state for frame in live.frames(500)}
    assert states == {"idle"}
    assert np.abs(live.aperture).max() <= 0.02
    mouths = np.concatenate([track.mouth.values for track in live.tracks])
    assert np.ptp(mouths[25:], axis=0).max() < 0.005


def test_same_seed_same_session():
    def motion(seed: int) -> np.ndarray:
        live = start(seed=seed)
        live.session.push(VOICE, RATE)
        live.frames(100)
        return np.array([[*t.head.rotation_deg[0], *t.blink[0], *t.gaze[0], t.breath[0]] for t in live.tracks])

    assert np.array_equal(motion(1), motion(1))
    assert not np.array_equal(motion(1), motion(2))


@pytest.mark.parametrize(
    ("options", "moves"),
    [
        ({"still": True}, {"blink", "gaze", "mouth"}),
        ({"blink": False}, {"head", "gaze", "breath", "mouth"}),
        ({"gaze": "still"}, {"head", "blink", "breath", "mouth"}),
        ({"breath": False}, {"head", "blink", "gaze", "mouth"}),
        ({"expression_scale": 0.0}, {"head", "blink", "gaze", "breath"}),
        ({"head_motion": 0.0}, {"blink", "gaze", "breath", "mouth"}),
    ],
)
def test_options_switch_channels(options, moves):
    live = start(**options)
    for _ in range(5):
        live.session.push(VOICE, RATE)
    live.frames(250)
    channels = {
        "head": [t.head.rotation_deg[0] for t in live.tracks],
        "blink": [t.blink[0] for t in live.tracks],
        "gaze": [t.gaze[0] for t in live.tracks],
        "breath": [t.breath for t in live.tracks],
        "mouth": [t.mouth.values[0] for t in live.tracks],
    }
    assert {name for name, values in channels.items() if np.ptp(values, axis=0).max() > 1e-6} == moves


def test_held_angles_and_gaze():
    live = start(yaw=5, pitch=-3, pupil_x=7.5, gaze="still")
    live.frames(30)
    assert np.allclose([t.head.rotation_deg[0, :2] for t in live.tracks], (-3, 5))
    assert np.allclose([t.gaze[0] for t in live.tracks], (0.5, 0))


def test_slow_drawing_skips_frames_but_no_sound():
    live = start(paced=True, fps=50)
    live.renderer.while_drawing = lambda: time.sleep(0.05)
    live.session.push(VOICE[:RATE], RATE)
    frames = live.frames(100)
    sound = sound_of(frames)
    assert np.array_equal(sound[sound != 0], VOICE[:RATE])
    skipped = [frame for frame in frames if not frame.is_new]
    assert skipped and live.session.counts.skipped_frames == len(skipped)
    assert len(live.tracks) == 100 - len(skipped)


def test_a_reader_that_stops_loses_no_sound(caplog):
    live = start(paced=True, fps=50)
    live.session.push(VOICE[:RATE], RATE)
    frames = live.frames(10)
    time.sleep(1.2)
    frames += live.frames(60)
    assert np.array_equal(sound_of(frames)[:RATE], VOICE[:RATE])
    assert live.session.counts.paused_seconds > 0.5
    assert any("stood still" in record.message for record in caplog.records)


def test_close_ends_a_waiting_iteration():
    live = start(paced=True, fps=1)
    live.frames(1)
    waiting, wait = threading.Event(), live.session._changed.wait
    live.session._changed.wait = lambda timeout: (waiting.set(), wait())  # until it is notified
    reader = threading.Thread(target=lambda: list(live.session), daemon=True)
    reader.start()
    assert waiting.wait(30)
    live.session.close()
    reader.join(timeout=30)
    assert not reader.is_alive()
    for call in (live.session.end, lambda: live.session.push(VOICE, RATE)):
        with pytest.raises(TalkerError, match="closed"):
            call()


def test_threads_push_and_interrupt_at_once():
    live, stop = start(), threading.Event()

    def push() -> None:
        while not stop.is_set():
            live.session.push(VOICE[:777], RATE)
            live.session.end()

    def interrupt() -> None:
        while not stop.is_set():
            live.session.clear()

    threads = [threading.Thread(target=each) for each in (push, push, interrupt)]
    for thread in threads:
        thread.start()
    frames = live.frames(300)
    stop.set()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert [len(frame.samples) for frame in frames] == [640] * 300


def test_sessions_share_the_portrait():
    one, other = start(), start()
    first, second = one.renderer.sources[-2:]
    assert first is second
    one.session.push(VOICE, RATE)
    assert sound_of(one.frames(10)).any()
    assert not sound_of(other.frames(10)).any()


def test_with_closes(tmp_path):
    with Talker(renderer=KeepingRenderer()).live(PORTRAIT, LiveOptions(paced=False, max_size=256)) as session:
        assert next(iter(session)).time_seconds == 0
    assert list(session) == []


@pytest.mark.parametrize(
    "options", [{"look_ahead": 0.5}, {"still": True, "head_motion": 0.5}, {"blink": False, "blink_rate": 5}, {"fps": 0}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(OptionError):
        LiveOptions(**options)


@needs_shared
def test_a_video_is_refused():
    with pytest.raises(MediaError, match="is a video"):
        Talker().live(DATA / "driving" / "smile_still.mp4")


def test_the_embedded_renderer_speaks_and_comes_to_rest():
    with Talker().live(PORTRAIT, LiveOptions(renderer="embedded", paced=False, max_size=320, still=True)) as session:
        live = [next(session) for _ in range(3)]
        session.push(VOICE, RATE)
        session.end()
        live += [next(session) for _ in range(60)]
    images = np.stack([frame.image for frame in live]).astype(int)
    moved = np.abs(images - images[0]).max(axis=(1, 2, 3))
    assert moved[5:50].max() > 50
    assert not any(frame.image.flags.writeable for frame in live)


@needs_shared
def test_following_a_camera():
    live = start()
    with open_footage(DATA / "driving" / "head_turns.mp4") as clip:
        images = [clip[k] for k in range(min(len(clip), 150))]
    found = []
    for image in images:
        found.append(live.session.follow(image))
        live.frames(1)
    assert all(found)
    head = np.array([t.head.rotation_deg[0] for t in live.tracks])
    assert np.ptp(head[20:, 1]) > 4  # it turns
    assert np.abs(np.diff(head, axis=0)).max() < 5
    before = len(live.tracks)
    assert not live.session.follow(np.zeros((240, 320, 3), np.uint8))
    assert live.session.counts.dropped_images == 1
    live.frames(60)  # by itself again
    late = np.array([t.mouth.values[0] for t in live.tracks[before + 30 :]])
    assert np.ptp(late, axis=0).max() < 0.01


@needs_shared
@pytest.mark.parametrize(("options", "held"), [({"still": True}, (0, 0, 0)), ({"yaw": 6, "pitch": -4}, (-4, 6, None))])
def test_a_camera_does_not_move_what_is_held(options, held):
    live = start(**options)
    with open_footage(DATA / "driving" / "head_turns.mp4") as clip:
        for k in range(min(len(clip), 80)):
            assert live.session.follow(clip[k])
            live.frames(1)
    for axis, angle in enumerate(held):
        turns = [track.head.rotation_deg[0, axis] for track in live.tracks]
        assert np.ptp(turns) > 0.5 if angle is None else np.allclose(turns, angle)
    if options.get("still"):
        assert not any(track.head.shift.any() for track in live.tracks)
    assert np.ptp([track.blink[0, 0] for track in live.tracks]) > 0.1


def test_bad_camera_images_are_refused():
    live = start()
    for image in (
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0, 3), np.uint8),
        None,
    ):
        with pytest.raises(OptionError, match="RGB"):
            live.session.follow(image)


@pytest.mark.slow
def test_minutes_keep_nothing_and_do_not_drift():
    live, chunk = start(), VOICE[: RATE // 50]
    delivered, used, waiting = 0, [], []
    tracemalloc.start()
    for k in range(3500):
        live.session.push(chunk, RATE)
        live.session.push(chunk, RATE)
        delivered += np.count_nonzero(next(live.session).samples)
        live.renderer.face.tracks.clear()
        if k % 250 == 249:
            used.append(tracemalloc.get_traced_memory()[0])
            waiting.append(2 * (k + 1) * len(chunk) - delivered)
    tracemalloc.stop()
    assert used[-1] < used[8] + 8000  # bytes, 6 a frame; the first 80 s fill what the level of the voice is learnt from
    assert len(set(waiting)) == 1 and waiting[0] <= 0.2 * RATE  # the look-ahead
    assert live.session.pending_seconds <= 0.2
