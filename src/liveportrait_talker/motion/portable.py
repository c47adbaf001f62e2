"""Motion of a talking video apart from its source, so that other portraits can make it: stored, mixed, drawn.

Source: docs/method/conventions.md, Portable motion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arrays import Floats
from .archive import ArchiveKind, Arrays, read_archive, write_archive
from .lips import controls_from_keypoints
from .resampling import resample_track
from .track import HeadTrack, LipKeypoints, MotionTrack, Mouth, MouthControls

Shapes = dict[str, tuple[int, ...]]
"""Array → its shape in one frame."""
_HEAD: Shapes = {"rotation_deg": (3,), "shift": (2,), "scale": ()}
_FACE: Shapes = {"blink": (2,), "gaze": (2,), "brows": (2,), "inner_brows": (), "smile": (), "breath": ()}
_MOUTHS: dict[type[Any], tuple[str, Shapes]] = {
    MouthControls: ("controls", {"values": (5,)}),
    LipKeypoints: ("keypoints", {"offsets": (6, 3)}),
}
"""Type of the mouth → (part of a file, shapes)."""
_KIND = ArchiveKind(
    "motion file",
    "liveportrait-talker motion",
    1,
    {"head": ("head_", _HEAD), "face": ("", _FACE)} | {part: ("mouth_", shapes) for part, shapes in _MOUTHS.values()},
)
_WIDEST_FPS = 1000.0


@dataclass(frozen=True, eq=False)
class PortableMotion:
    """Motion that fits any source: `Talker.motion` makes it, `Talker.save` and `Talker.frames` draw it.

    Raises ValueError for no frames, or a frame rate above 1000.
    """

    track: MotionTrack
    """As that of a renderer, but `MouthControls` are measured from shut lips instead of the source's."""

    def __post_init__(self) -> None:
        if not len(self.track) or self.track.fps > _WIDEST_FPS:
            raise ValueError(f"motion needs at least one frame, and at most {_WIDEST_FPS:g} a second: {self.track}")

    def __len__(self) -> int:
        return len(self.track)

    def __repr__(self) -> str:
        return f"PortableMotion(T={len(self)}, fps={self.track.fps:g})"

    def save(self, path: Path | str) -> None:
        """Write it to an .npz, which is replaced if it exists.

        Raises:
            MediaError: the file cannot be written.
        """
        mouth, _ = _MOUTHS[type(self.track.mouth)]
        parts = {"head": self.track.head, "face": self.track, mouth: self.track.mouth}
        write_archive(_KIND, Path(path), fps=self.track.fps, frames=len(self), parts=parts)

    @classmethod
    def load(cls, path: Path | str) -> PortableMotion:
        """Read an untrusted file that `save` wrote.

        Raises:
            MediaError: the file is missing, damaged, of another kind, of a newer version or too long.
        """
        return read_archive(_KIND, Path(path), _build)

    def resampled(self, frames: int, fps: float) -> PortableMotion:
        """Return `frames` frames at `fps`; the last one is held beyond the end. Source: conventions, Clock."""
        rate = self.track.fps
        if (frames, fps) == (len(self), rate):
            return self
        return PortableMotion(_combine(fps, lambda part, values: resample_track(values, rate, frames, fps), self.track))

    def mixed(
        self, other: PortableMotion, *, head: float = 0.5, eyes: float = 0.5, mouth: float = 0.5
    ) -> PortableMotion:
        """Return a weighted mean of two motions, as long as this one and at its frame rate.

        Args:
            other: the other motion.
            head: its share of the head and the breath, 0…1.
            eyes: its share of blinks, gaze and brows.
            mouth: its share of the mouth and the smile.
        """
        one, two = self.track, other.resampled(len(self), self.track.fps).track
        if isinstance(one.mouth, LipKeypoints) != isinstance(two.mouth, LipKeypoints):
            one, two = (dataclasses.replace(track, mouth=_as_controls(track.mouth)) for track in (one, two))
        shares = {"head": head, "breath": head, "mouth": mouth, "smile": mouth}

        def mean(part: str, first: Floats, second: Floats) -> Floats:
            share = shares.get(part, eyes)
            return (1 - share) * first + share * second

        return PortableMotion(_combine(one.fps, mean, one, two))


def _combine(fps: float, function: Callable[..., Floats], *tracks: MotionTrack) -> MotionTrack:
    """Return the track at `fps` whose arrays are `function` of the name of a part and the arrays of `tracks`."""

    def arrays(part: str, owners: Iterable[object], names: Iterable[str]) -> dict[str, Any]:
        owners = list(owners)
        return {name: function(part or name, *(getattr(owner, name) for owner in owners)) for name in names}

    kind = type(tracks[0].mouth)
    return MotionTrack(
        fps=fps,
        head=HeadTrack(**arrays("head", (track.head for track in tracks), _HEAD)),
        mouth=kind(**arrays("mouth", (track.mouth for track in tracks), _MOUTHS[kind][1])),
        **arrays("", tracks, _FACE),
    )


def _as_controls(mouth: Mouth) -> MouthControls:
    return controls_from_keypoints(mouth) if isinstance(mouth, LipKeypoints) else mouth


def _build(fps: float, arrays: Arrays) -> PortableMotion:
    mouths: list[Mouth] = [kind(**arrays[part]) for kind, (part, _) in _MOUTHS.items() if part in arrays]
    if not {"head", "face"} <= arrays.keys() or len(mouths) != 1:
        raise ValueError("it lacks the head, the face or the mouth")
    face: dict[str, Any] = arrays["face"]
    return PortableMotion(MotionTrack(fps=fps, head=HeadTrack(**arrays["head"]), mouth=mouths[0], **face))
