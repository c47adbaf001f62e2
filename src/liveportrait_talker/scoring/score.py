"""`score_video`: a video in, its figures and a verdict out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MediaError
from ..face.finder import FaceFinder
from ..face.follower import no_face_error
from ..face.tracked import TrackedFace
from ..media.audio_file import has_audio, read_waveform
from ..media.footage import Footage, open_footage
from ..media.waveform import Waveform
from ..options.score import ScoreOptions
from ..progress import OnProgress, ignore_progress, steps_of
from .figures import FIGURES, NO_FACE, NO_SOUND, TRUTH, human_ranges
from .measuring import Measured, is_heard, measure_tracks
from .mouth_look import Shown
from .tracks import GRID_FPS, FaceTracks
from .verdict import Finding, findings_of, verdict_of
from .watching import watch


@dataclass(frozen=True, eq=False)
class VideoScore:
    """What was measured of one video."""

    name: str
    size: tuple[int, int]
    """(width, height) px."""
    fps: float
    seconds: float
    figures: dict[str, float]
    """Figures by name (docs/score.md)."""
    not_measured: dict[str, str]
    """Why other figures were not measured."""
    reference: str
    """What the picture was compared with."""
    tracks: FaceTracks
    curves: Measured
    """The curves that the figures were read from."""

    @property
    def findings(self) -> list[Finding]:
        """Figures outside of the human range, the worst kind first."""
        return findings_of(self.figures, self.seconds)

    @property
    def verdict(self) -> str:
        """One sentence."""
        return verdict_of(self.figures, self.seconds)

    def as_json(self) -> dict[str, Any]:
        """Return the score as JSON values."""
        ranges = human_ranges()
        outside = {finding.figure.name for finding in self.findings}
        figures = {
            name: {"value": round(value, 6)}
            | ({"human": ranges[name].as_json(), "inside": name not in outside} if name in ranges else {})
            for name, value in self.figures.items()
        }
        return {
            "video": self.name,
            "width": self.size[0],
            "height": self.size[1],
            "fps": round(self.fps, 4),
            "seconds": round(self.seconds, 3),
            "verdict": self.verdict,
            "figures": figures,
            "not_measured": self.not_measured,
            "picture_reference": self.reference,
        }


def score_video(
    video: Path | str,
    *,
    truth: Path | str | None = None,
    source: Path | str | None = None,
    options: ScoreOptions | None = None,
    on_progress: OnProgress = ignore_progress,
) -> VideoScore:
    """Measure a talking video, made by anything.

    Args:
        video: the file.
        truth: a recording of a person who says the same: mouth and face are compared with it.
        source: the portrait that the video was made from: background, sharpness and face are compared with it instead
            of with the first frame.
        options: which face, and limits of size and length.
        on_progress: called with ("measuring NAME", frames done, frames in all).

    Raises:
        MediaError: a file cannot be read, or `video` or `truth` is a picture.
        NoFaceError: the video has fewer faces than `options.face`, or `source` or `truth` has none.
    """
    options, video = options or ScoreOptions(), Path(video)
    with ExitStack() as files:
        footage = files.enter_context(_open_video(video, options))
        true_footage = None if truth is None else files.enter_context(_open_video(Path(truth), options))
        watched = watch(
            footage.as_stored(),
            face=options.face,
            truth=None if true_footage is None else true_footage.as_stored(),
            source=None if source is None else _read_portrait(Path(source), options),
            on_frame=steps_of(f"measuring {video.name}", on_progress),
        )
        if true_footage is not None and watched.true_tracks is not None and not watched.true_tracks.valid.any():
            raise no_face_error(true_footage.name, true_footage[0])
    voice, no_sound = _read_sound(video, options)
    curves = measure_tracks(watched.tracks, voice, watched.true_tracks)
    figures = curves.figures | watched.figures
    return VideoScore(
        name=video.name,
        size=footage.size,
        fps=footage.fps or 0.0,
        seconds=len(watched.tracks) / GRID_FPS,
        figures=figures,
        not_measured=_reasons(figures, no_sound, with_truth=truth is not None),
        reference=watched.reference,
        tracks=watched.tracks,
        curves=curves,
    )


def _open_video(path: Path, options: ScoreOptions) -> Footage:
    footage = open_footage(
        path, max_side=options.max_size, max_pixels=options.max_pixels, max_seconds=options.max_seconds
    )
    if footage.is_still:
        footage.close()
        raise MediaError(f"{path.name} is a picture; give a video")
    return footage


def _read_portrait(path: Path, options: ScoreOptions) -> Shown:
    """Return a picture, or the first frame of a video, and the face in it."""
    with open_footage(path, max_side=options.max_size, max_pixels=options.max_pixels) as footage:
        image = footage[0]
    found = FaceFinder().find(image)
    if not found:
        raise no_face_error(path.name, image)
    return Shown(image, TrackedFace(found[0]))


def _read_sound(path: Path, options: ScoreOptions) -> tuple[Waveform | None, str]:
    """Return the sound of a video, or None and why there is none."""
    try:
        voice = read_waveform(path, max_seconds=options.max_seconds)
    except MediaError as error:
        return None, NO_SOUND if not has_audio(path) else str(error)
    return (voice, "") if is_heard(voice) else (None, "the sound is digital silence")


def _reasons(figures: dict[str, float], no_sound: str, *, with_truth: bool) -> dict[str, str]:
    """Return why figures are missing, by name."""
    found = {}
    has_face = figures["valid_pct"] > 0
    for figure in FIGURES:
        if figure.name in figures or (figure.group == TRUTH and not with_truth):
            continue
        if figure.needs_sound and no_sound:
            found[figure.name] = no_sound
        elif figure.needs_face and not has_face:
            found[figure.name] = NO_FACE
        else:
            found[figure.name] = figure.absent or "the video is too short"
    return found
