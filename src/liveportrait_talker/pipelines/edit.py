"""`Editor`: a portrait's face posed by sliders.

`open` is the costly pass, once a portrait; the `EditSession` it gives draws any expression in moments.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import __version__
from ..arrays import Image
from ..driving.sliders import asked_turn, bent, edited_track
from ..errors import MediaError
from ..face.cropped import cropped
from ..face.measurements import face_readings
from ..face.tracked import TrackedSource
from ..face.tracker import track
from ..media import VideoWriter, check_encoder, check_output, open_footage
from ..media.picture import check_picture_output, write_picture
from ..motion.track import MouthControls
from ..options.edit import NEURAL_ONLY, EditOptions, EditSetup
from ..options.fields import given
from ..options.talk import TalkOptions
from ..progress import OnProgress
from ..render.composite import paste
from ..render.protocol import FaceFrame, Renderer
from .edit_keyframes import Keyframe, edits, frame_count, read_keyframes
from .engines import Choice, Equipment, Weights, choose_renderer

__all__ = ["EditOptions", "EditReport", "EditSession", "EditSetup", "Editor", "Keyframe", "read_keyframes"]

log = logging.getLogger(__name__)
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class EditReport:
    """What was made, and how."""

    path: Path
    renderer: str
    renderer_reason: str
    """Why this one drew."""
    frames: int
    """1 for a picture."""
    size: tuple[int, int]
    """Width and height, px."""
    elapsed_seconds: float
    edit: EditOptions
    setup: EditSetup

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        plain = dataclasses.asdict(self) | {"path": str(self.path), "version": __version__}
        plain["edit"] = {k: str(v) if isinstance(v, Path) else v for k, v in plain["edit"].items()}
        return plain


class EditSession:
    """A portrait ready to be edited: ask `draw` as often as wanted. Not for several threads at once."""

    def __init__(
        self,
        source: TrackedSource,
        drawing: Choice,
        sample: Callable[[Path], TrackedSource],
        drawn: Callable[[EditOptions, TrackedSource | None], FaceFrame],
    ) -> None:
        self._source, self._drawn, self._open_sample = source, drawn, sample
        self._sample: tuple[tuple[Path, int | None], TrackedSource] | None = None
        self.renderer = drawing.name
        """What draws: neural or embedded."""
        self.renderer_reason = drawing.reason
        self.size = source.footage.size
        """Width and height, px."""

    def __repr__(self) -> str:
        return f"EditSession({self._source.footage.name}, {self.renderer})"

    @property
    def picture(self) -> Image:
        """The portrait as it is, (H, W, 3) uint8 RGB."""
        return self._source.footage[0].copy()

    def draw(self, edit: EditOptions) -> Image:
        """The portrait with this expression, (H, W, 3) uint8 RGB; with all sliders at rest the picture itself.

        Raises:
            TalkerError: the sample picture cannot be read, or shows nobody.
        """
        if edit.at_rest:
            return self.picture
        return paste(self._source.footage[0], self._drawn(edit, self._sampled(edit.sample)))

    def _sampled(self, path: Path | None) -> TrackedSource | None:
        if path is None:
            return None
        known = (path, _written(path))
        if self._sample is None or self._sample[0] != known:
            self._sample = (known, self._open_sample(path))
        return self._sample[1]


class Editor:
    """Poses the face of a picture. Keep one for many: networks stay loaded.

    Args:
        weights: network → checkpoint file, in place of the installed weights.
    """

    def __init__(self, weights: Weights | None = None) -> None:
        self._equipment = Equipment(weights)

    def open(self, portrait: Path | str, renderer: str = "auto", setup: EditSetup | None = None) -> EditSession:
        """Find the face and make it ready, which takes a second or a few.

        Args:
            portrait: a picture with a face.
            renderer: auto, neural or embedded; `setup.renderer` where it is auto.
            setup: see EditSetup.

        Raises:
            TalkerError: anything the user can mend, told in one sentence.
        """
        setup = setup or EditSetup()
        if renderer != "auto":
            setup = dataclasses.replace(setup, renderer=renderer)
        source = self._tracked(Path(portrait), setup, face=setup.face)
        if setup.crop:
            source = cropped(source)
        drawing = choose_renderer(TalkOptions(renderer=setup.renderer), self._equipment.weights)
        if drawing.name == "embedded" and (idle := given(setup, (*NEURAL_ONLY, "device"))):
            log.warning("%s: no effect with the embedded renderer.", ", ".join(idle))
        log.info("drawn by the %s renderer: %s.", drawing.name, drawing.reason)
        asked = TalkOptions(
            device=setup.device,
            precision=setup.precision,
            compile=setup.compile,
            no_stitching=not setup.stitching,
        )
        engine = self._equipment.renderer(drawing, asked if drawing.name == "neural" else TalkOptions())
        drawn = (_by_mesh if drawing.name == "embedded" else _by_networks)(engine, source, setup)
        return EditSession(source, drawing, partial(self._tracked, setup=setup, face=None), drawn)

    def save(
        self,
        portrait: Path | str,
        out: Path | str,
        edit: EditOptions | None = None,
        *,
        setup: EditSetup | None = None,
        keyframes: Path | str | Sequence[Keyframe] | None = None,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> EditReport:
        """Write the edited picture, or with `keyframes` a short clip.

        Args:
            portrait: a picture with a face.
            out: the .png, .jpg or .webp to write, with `keyframes` an .mp4; it appears when it is complete.
            edit: the expression; of a clip, what its keyframes do not name.
            setup: see EditSetup.
            keyframes: a file (see `keyframes`), or what it holds.
            overwrite: replace `out` if it exists.
            on_progress: called as the work goes on.

        Raises:
            TalkerError: anything the user can mend, told in one sentence.
        """
        edit, setup, out, portrait = edit or EditOptions(), setup or EditSetup(), Path(out), Path(portrait)
        started = time.monotonic()
        frames = read_keyframes(Path(keyframes)) if isinstance(keyframes, (Path, str)) else keyframes
        (check_picture_output if frames is None else check_output)(out, overwrite)
        for path in (portrait, edit.sample):
            if path is not None and out.exists() and path.exists() and out.samefile(path):
                raise MediaError(f"{out} is one of the inputs and would be lost; name another output")
        session = self.open(portrait, setup=setup)
        count, size = 1, session.size
        note = {
            "title": "AI-generated portrait edit",
            "comment": "AI-generated: the expression of this face is synthetic. "
            f"Made with LivePortraitTalker {__version__} ({session.renderer} renderer).",
        }
        if frames is None:
            write_picture(out, session.draw(edit), overwrite=overwrite, **note)
        else:
            check_encoder(setup.encoder)
            count = frame_count(frames, setup.fps)
            with VideoWriter(
                out,
                size=size,
                fps=setup.fps,
                voice=None,
                frame_count=count,
                crf=setup.quality,
                encoder=setup.encoder,
                overwrite=overwrite,
                title=note["title"],
                comment=note["comment"],
            ) as writer:
                for k, frame in enumerate(edits(frames, edit, setup.fps)):
                    writer.write(session.draw(frame))
                    if on_progress:
                        on_progress("drawing", k + 1, count)
            size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        return EditReport(
            path=out,
            renderer=session.renderer,
            renderer_reason=session.renderer_reason,
            frames=count,
            size=size,
            elapsed_seconds=time.monotonic() - started,
            edit=edit,
            setup=setup,
        )

    def _tracked(self, path: Path, setup: EditSetup, face: int | None) -> TrackedSource:
        with ExitStack() as opened:
            footage = open_footage(path, max_side=setup.max_size, max_pixels=int(setup.max_megapixels * 1e6))
            opened.callback(footage.close)
            if not footage.is_still:
                raise MediaError(f"{path.name} is a video: edit poses a picture; animate moves the face of a video")
            return track(footage, face=face)


def _written(path: Path) -> int | None:
    """When a file was last written, ns; None where there is none, which is said when it is opened."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _read_once(read: Callable[[TrackedSource], _Read]) -> Callable[[TrackedSource | None], _Read | None]:
    """`read` for the samples of a session: the last one's answer is kept, however often it is drawn."""
    kept: list[tuple[TrackedSource, _Read]] = []

    def of(sample: TrackedSource | None) -> _Read | None:
        if sample is None:
            return None
        if not kept or kept[0][0] is not sample:
            kept[:] = [(sample, read(sample))]
        return kept[0][1]

    return of


def _by_mesh(
    renderer: Renderer, source: TrackedSource, setup: EditSetup
) -> Callable[[EditOptions, TrackedSource | None], FaceFrame]:
    from ..render.embedded.limits import Limits
    from ..render.embedded.renderer import EmbeddedFace

    face, own, copied = renderer.prepare(source), face_readings(source), _read_once(face_readings)
    assert isinstance(face, EmbeddedFace)
    limits, noted = Limits.of(source.faces[0]), {"turn": False, "mouth": False}

    def drawn(edit: EditOptions, sample: TrackedSource | None) -> FaceFrame:
        shown = copied(sample)
        track, turn = edited_track(edit, own, shown), asked_turn(edit, shown)
        # Each once a session: sliders move often.
        noted["turn"] = noted["turn"] or limits.warn_about_rotation(turn[None], limits.limit_rotation(bent(turn)))
        assert isinstance(track.mouth, MouthControls)
        noted["mouth"] = noted["mouth"] or limits.warn_about_opening(track.mouth.values[0])
        return next(face.frames(track, notes=False))

    drawn(EditOptions(blink=-1, pupil_x=1, aaa=5, rotate_yaw=1), None)  # what is made once is made now
    return drawn


def _by_networks(
    renderer: Renderer, source: TrackedSource, setup: EditSetup
) -> Callable[[EditOptions, TrackedSource | None], FaceFrame]:
    from ..render.neural.animated import point_networks  # brings torch
    from ..render.neural.editor import edit_expression
    from ..render.neural.renderer import NeuralRenderer

    assert isinstance(renderer, NeuralRenderer)
    face, networks = renderer.prepare(source), point_networks(renderer.networks)
    copied = _read_once(lambda sample: renderer.prepare(sample).motion_of([0])[0])

    def drawn(edit: EditOptions, sample: TrackedSource | None) -> FaceFrame:
        shown = copied(sample)
        frames: Iterator[FaceFrame] = face.followed(
            np.zeros(1, np.intp),
            lambda at, seen: edit_expression(seen.motion, edit, networks, sample=shown, stitching=setup.stitching),
        )
        return next(frames)

    return drawn
