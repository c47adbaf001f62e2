"""`Editor`: a portrait's face posed by sliders.

`open` is the slow step, once a portrait; the `EditSession` that it returns draws an expression in milliseconds.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..arrays import Image
from ..driving.sliders import build_edit_track, compute_turn
from ..errors import MediaError, OptionError
from ..face.measurements import measure_faces
from ..face.tracked import TrackedSource
from ..media.media_file import check_input
from ..motion.face_measurements import FaceMeasurements
from ..options.edit import EditOptions, EditSetup
from ..progress import OnProgress, ignore_progress
from ..render.paste import composite
from ..render.protocol import DrivenFace, FaceFrame, LimitedFace, PreparedFace, Renderer
from .edit_keyframes import Keyframe, edits, frame_count, in_order, read_keyframes
from .engines import EngineChoice, Engines, Weights, note_choice
from .labels import Origin
from .run import Output, Report, find_face, given_or_default, open_source

__all__ = ["EditOptions", "EditReport", "EditSession", "EditSetup", "Editor", "Keyframe", "read_keyframes"]

log = logging.getLogger(__name__)
_WARM_UP = EditOptions(blink=-1, pupil_x=1, aaa=5, rotate_yaw=1)


@dataclass(frozen=True)
class EditReport(Report):
    """What was made, and how."""

    edit: EditOptions
    setup: EditSetup


class _TrackEditor:
    """Applies the sliders as a motion track, for any renderer."""

    def __init__(self, face: PreparedFace, source: TrackedSource) -> None:
        self._face, self._own = face, measure_faces(source)
        self.draw(_WARM_UP, None)  # what is computed once is computed now

    def prepare(self, sample: TrackedSource) -> FaceMeasurements:
        return measure_faces(sample)

    def draw(self, edit: EditOptions, sample: FaceMeasurements | None) -> FaceFrame:
        track = build_edit_track(edit, self._own, sample)
        if isinstance(self._face, LimitedFace):
            self._face.warn_of_limits(compute_turn(edit, sample), track)
        return next(self._face.frames(track))


class _NetworkEditor:
    """Applies the sliders by the renderer's own networks."""

    def __init__(self, face: DrivenFace, renderer: Renderer) -> None:
        self._face = face
        self.prepare, self.draw = renderer.prepare, face.edit


class EditSession:
    """A portrait ready to be edited: `draw` can be called any number of times. Not thread-safe."""

    def __init__(
        self,
        source: TrackedSource,
        renderer: EngineChoice,
        editor: _TrackEditor | _NetworkEditor,
        open_sample: Callable[[Path], TrackedSource],
        *,
        keeps_background: bool = True,
    ) -> None:
        self._keeps_background = keeps_background
        self._source, self._editor, self._open_sample = source, editor, open_sample
        self._sample: tuple[tuple[Path, int | None], Any] | None = None
        self.renderer = renderer.name
        """What draws: neural, embedded or hybrid."""
        self.renderer_reason = renderer.reason
        self.size = source.footage.size
        """Width and height, px."""

    def __repr__(self) -> str:
        return f"EditSession({self._source.footage.name}, {self.renderer})"

    @property
    def picture(self) -> Image:
        """The portrait as it is, (H, W, 3) uint8 RGB."""
        return self._source.footage[0].copy()

    def draw(self, edit: EditOptions) -> Image:
        """Return the portrait with this expression, (H, W, 3) uint8 RGB; with all sliders at rest the image itself.

        With another background, the person over it; with none, RGBA (H, W, 4).

        Raises:
            TalkerError: the sample image cannot be read, or shows no face.
        """
        if given_or_default(edit, EditOptions).at_rest and self._keeps_background:
            return self.picture
        return composite(self._source, self._editor.draw(edit, self._prepared_sample(edit.sample)))

    def _prepared_sample(self, path: Path | None) -> Any:
        """Return the sample, prepared for the renderer; the last one is kept while its file stays the same."""
        if path is None:
            return None
        key = (path, _modified(path))
        if self._sample is None or self._sample[0] != key:
            self._sample = (key, self._editor.prepare(self._open_sample(path)))
        return self._sample[1]


class Editor:
    """Poses the face of an image. Keep one for many: networks stay loaded.

    Args:
        weights: network → checkpoint file, in place of the installed weights.
        renderer: draws the face; by default what `EditSetup.renderer` names.
    """

    def __init__(self, weights: Weights | None = None, *, renderer: Renderer | None = None) -> None:
        self._engines = Engines(weights, renderer=renderer)

    def open(
        self,
        portrait: Path | str,
        renderer: str = "auto",
        setup: EditSetup | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> EditSession:
        """Find the face and prepare it, which takes a second or a few.

        Args:
            portrait: an image with a face.
            renderer: auto, neural, embedded or hybrid; `setup.renderer` where it is auto.
            setup: see EditSetup.
            on_progress: called as the work goes on.

        Raises:
            TalkerError: anything the user can fix, in one sentence.
        """
        setup = given_or_default(setup, EditSetup)
        if not isinstance(renderer, str) or renderer != "auto":
            setup = dataclasses.replace(setup, renderer=renderer)
        source = _find_face(Path(portrait), setup)
        chosen = self._engines.choose_renderer(setup)
        note_choice(setup, chosen)
        engine = self._engines.renderer(chosen, setup, on_progress=on_progress or ignore_progress)
        face = engine.prepare(source)
        editor = _NetworkEditor(face, engine) if isinstance(face, DrivenFace) else _TrackEditor(face, source)
        sample_setup = dataclasses.replace(setup, face=None, crop=False)
        keeps = setup.behind is None
        opener = partial(_find_face, setup=sample_setup)
        return EditSession(source, chosen, editor, opener, keeps_background=keeps)

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
        """Write the edited image, or with `keyframes` a short clip.

        Args:
            portrait: an image with a face.
            out: the .png, .jpg or .webp to write, with `keyframes` an .mp4; it appears when it is complete.
            edit: the expression; sliders that keyframes name take their values from there.
            setup: see EditSetup.
            keyframes: a .json or .csv file, or what `read_keyframes` returns.
            overwrite: replace `out` if it exists.
            on_progress: called as the work goes on.

        Raises:
            TalkerError: anything the user can fix, in one sentence.
        """
        edit, setup, portrait = given_or_default(edit, EditOptions), given_or_default(setup, EditSetup), Path(portrait)
        started = time.monotonic()
        inputs = {"sample": edit.sample}
        if isinstance(keyframes, (Path, str)):
            inputs["keyframes"] = Path(keyframes)
            frames: Sequence[Keyframe] | None = read_keyframes(Path(keyframes))
        else:
            frames = None if keyframes is None else in_order(keyframes)
        if frames and frames[-1].seconds > setup.max_seconds:
            raise OptionError(
                f"the keyframes make a clip of {frames[-1].seconds:g} seconds, the limit is {setup.max_seconds:g}: "
                "shorten it, or raise the limit with --max-seconds."
            )
        output = Output(Path(out), overwrite, setup, kind="image" if frames is None else "video")
        output.check((portrait, edit.sample))
        if edit.sample is not None:
            check_input(edit.sample)
        if frames is None and edit.at_rest and setup.behind is None:
            log.warning("no slider is set: the face stays as it is.")
        session = self.open(portrait, setup=setup, on_progress=on_progress)
        count = 1 if frames is None else frame_count(frames, setup.fps)
        size = output.write(
            (session.draw(each) for each in ([edit] if frames is None else edits(frames, edit, setup.fps))),
            size=session.size,
            fps=setup.fps,
            frames=count,
            title="AI-generated portrait edit",
            comment="the expression of this face is synthetic.",
            renderer=session.renderer,
            origin=Origin(portrait, True, inputs),
            on_progress=on_progress or ignore_progress,
        )
        return EditReport(
            path=output.path,
            renderer=session.renderer,
            renderer_reason=session.renderer_reason,
            frames=count,
            fps=setup.fps,
            size=size,
            elapsed_seconds=time.monotonic() - started,
            edit=edit,
            setup=setup,
        )


def _find_face(path: Path, setup: EditSetup) -> TrackedSource:
    with open_source(path, setup) as footage:
        if not footage.is_still:
            raise MediaError(f"{path.name} is a video: edit poses a picture; animate moves the face of a video")
        return find_face(footage, setup)


def _modified(path: Path) -> int | None:
    """Return when a file was last written, ns; None where it is missing, which is reported when it is opened."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
