"""Several speakers in one picture or video: every face speaks with its own voice, and with no other's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.tracked import TrackedFace
from liveportrait_talker.media import read_waveform
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


@needs_shared
@pytest.mark.parametrize("name", SCENES)
def test_every_face_has_its_own_voice(name, tmp_path):
    seen = run(name, tmp_path)
    people = len(seen.together)
    rs = np.array([[correlation(seen.together[k], seen.alone[j]) for j in range(people)] for k in range(people)])
    rest = [np.nanmean(seen.together[k][seen.silent[k]]) for k in range(people)]
    print(name, np.round(rs, 2).tolist(), np.round(rest, 3).tolist(), np.isfinite(seen.together).sum(axis=1).tolist())
    assert np.nanmin(np.diag(rs)) >= 0.95
    assert np.nanmax(rs[~np.eye(people, dtype=bool)], initial=-1) <= 0.3
    assert np.nanmax(rest, initial=-1) <= 0.02
