"""Faults that a viewer notices are found in recordings of people, and only there (docs/score.md, Tests).

The tracks of the talking clips are those that come with them; `test_score.py` measures whole videos.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from liveportrait_talker.media import Waveform, read_waveform
from liveportrait_talker.scoring.blinks import find_blinks
from liveportrait_talker.scoring.measuring import measure_tracks
from liveportrait_talker.scoring.tracks import GRID_FPS, FaceTracks
from liveportrait_talker.scoring.verdict import findings_of, verdict_of
from shared import DATA, needs_shared

pytestmark = needs_shared
LONG_CLIPS = [  # at least 9.7 s: a person may not blink for that long in a shorter one
    *("talking/andrew_1", "talking/andrew_2", "talking/feifei", "talking/obama_1", "talking/obama_2"),
    *("talking2/ru_woman", "talking2/ted_talk", "talking2/travel_man", "talking2/vox_00098", "talking2/vox_681100216"),
]
SHORT_CLIPS = [
    *("talking/aoc", "talking/glasses_woman", "talking/grid_bbaf2n", "talking/grid_lbbc2a", "talking/vox_jamie"),
    *("talking2/debate_woman", "talking2/old_poet", "talking2/vox_00373", "talking2/weakness_man", "talking2/zh_man"),
]


def load(clip: str) -> tuple[FaceTracks, Waveform]:
    folder, name = clip.split("/")
    with np.load(DATA / folder / "tracks" / f"{name}.npz") as stored:
        found = {key: stored[key].astype(float) for key in stored if key not in ("valid", "fps", "size")}
    place = np.stack([found["cx"], found["cy"]], axis=1)
    tracks = FaceTracks(
        aperture=found["aperture"],
        width=found["width"],
        eyes=np.stack([found["eye_r"], found["eye_l"]], axis=1),
        gaze=np.stack([found["gaze_x"], found["gaze_y"]], axis=1),
        rotation_deg=np.stack([found["pitch"], found["yaw"], found["roll"]], axis=1),
        place=place,
        iod=found["iod_px"],
        stable=place[:, None],
        after_cut=np.zeros(len(place), bool),
    )
    return tracks, read_waveform(DATA / folder / f"{name}.mp4")


def found_in(tracks: FaceTracks, voice: Waveform | None = None) -> tuple[set[str], str]:
    """Return the names of the figures outside of their range, and the verdict."""
    figures, seconds = measure_tracks(tracks, voice).figures, len(tracks) / GRID_FPS
    return {finding.figure.name for finding in findings_of(figures, seconds)}, verdict_of(figures, seconds)


def moved(voice: Waveform, seconds: float) -> Waveform:
    """Return a sound that comes later by `seconds`."""
    shift = round(seconds * voice.sample_rate)
    samples = voice.samples[-shift:] if shift < 0 else np.pad(voice.samples, (shift, 0))[: len(voice.samples)]
    return Waveform(samples=samples.astype(np.float32), sample_rate=voice.sample_rate)


@pytest.mark.parametrize("clip", LONG_CLIPS + SHORT_CLIPS)
def test_sound_that_is_moved_by_80_ms_is_found(clip):
    tracks, voice = load(clip)
    plain = measure_tracks(tracks, voice).figures
    assert abs(plain["offset_ms"]) <= 45
    for seconds in (-0.08, 0.08):
        figures = measure_tracks(tracks, moved(voice, seconds)).figures
        assert figures["offset_ms"] - plain["offset_ms"] == pytest.approx(-1000 * seconds, abs=20)
        side = "ahead of" if seconds > 0 else "behind"
        assert f"ms {side} the sound" in verdict_of(figures, len(tracks) / GRID_FPS)


@pytest.mark.parametrize("clip", LONG_CLIPS + SHORT_CLIPS)
def test_a_frozen_mouth_is_found(clip):
    tracks, voice = load(clip)
    noise = np.random.default_rng(0).normal(0, 0.004, len(tracks))
    frozen = replace(tracks, aperture=np.nanmedian(tracks.aperture) + noise)
    names, verdict = found_in(frozen, voice)
    assert "aperture_range" in names and "offset_ms" not in names
    assert "the mouth hardly moves" in verdict.lower()


@pytest.mark.parametrize("clip", LONG_CLIPS)
def test_eyes_that_do_not_blink_are_found(clip):
    tracks, _ = load(clip)
    openness, eyes = tracks.eyes.mean(axis=1), tracks.eyes.copy()
    for first, end in find_blinks(openness, GRID_FPS):
        low, high = max(first - 4, 0), min(end + 4, len(eyes) - 1)
        for eye in eyes.T:
            eye[low : high + 1] = np.linspace(eye[low], eye[high], high + 1 - low)
    names, verdict = found_in(replace(tracks, eyes=eyes))
    assert {"blinks_per_min", "blink_gap_s"} <= names
    assert "blink" in verdict
    assert not {"blinks_per_min", "blink_gap_s"} & found_in(tracks)[0]


@pytest.mark.parametrize("clip", LONG_CLIPS + SHORT_CLIPS)
def test_jitter_is_found(clip):
    tracks, _ = load(clip)
    shake = np.random.default_rng(0).normal(0, 0.01 * np.nanmedian(tracks.iod), (len(tracks), 2))
    names, verdict = found_in(replace(tracks, place=tracks.place + shake, stable=tracks.stable + shake[:, None]))
    assert "shake_pct" in names
    assert "shakes from frame to frame" in verdict
