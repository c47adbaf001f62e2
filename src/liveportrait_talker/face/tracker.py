"""Finding and following faces. The one home of MediaPipe: a newer face tracker would replace this file."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import NoFaceError
from ..media.footage import Footage
from .measures import LANDMARKS, interocular_distance
from .tracked import TrackedFace, TrackedSource

log = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]

MIN_COMFORTABLE_IOD = 32.0  # px between the outer eye corners; below, lids and lips are a few pixels
MOST_FACES = 20
_LONGEST_GAP_S = 0.5  # a face gone for longer is not there
_LEAST_SEEN = 0.3  # share of a video's frames
_MESH_SIDE = 1280  # FaceMesh looks at 192 px of a face: a bigger picture only costs time
_SECOND_LOOK_SIDE = 512  # a face too small to be found is enlarged to this
_LOUD_CALLS = 3  # of a new graph: after them it is silent
_SMOOTHING = np.array([0.25, 0.5, 0.25])  # over three frames: FaceMesh trembles by about 0.5 % IOD


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep MediaPipe's C++ start-up chatter off the terminal (it has no switch that silences it)."""
    with _stderr_lock:
        _hush()
    try:
        yield
    finally:
        with _stderr_lock:
            _speak()


_stderr_lock = threading.Lock()
_stderr: list[int] = []  # the terminal's own, while at least one tracker is quiet
_quiet_ones = 0  # several threads may make trackers: the first one hushes, the last one lets speak again


def _hush() -> None:
    global _quiet_ones
    _quiet_ones += 1
    if _quiet_ones > 1:
        return
    with contextlib.suppress(OSError):  # no standard error at all: nothing to keep quiet
        saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)
        _stderr.append(saved)


def _speak() -> None:
    global _quiet_ones
    _quiet_ones -= 1
    if not _quiet_ones and _stderr:
        saved = _stderr.pop()
        os.dup2(saved, 2)
        os.close(saved)


def _mediapipe() -> Any:
    """MediaPipe, imported in a thread of its own.

    A module that it brings along keeps the frame of whoever imports it, with all callers' frames and what they hold:
    a whole voice, once.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(importlib.import_module, "mediapipe").result()


class FaceTracker:
    """MediaPipe FaceMesh with 478 points, for a still or frame after frame. A context manager.

    Args:
        following: follow faces from frame to frame (video) instead of looking anew each time.
        faces: how many faces to find at most.
    """

    def __init__(self, *, following: bool, faces: int = MOST_FACES) -> None:
        self._following = following
        self._loud_calls = _LOUD_CALLS
        self._quiet = contextlib.ExitStack()
        with _quiet_stderr():
            os.environ.setdefault("GLOG_minloglevel", "3")
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            self._solutions: Any = _mediapipe().solutions
            self._mesh = self._solutions.face_mesh.FaceMesh(
                static_image_mode=not following,
                max_num_faces=faces,
                refine_landmarks=True,
                min_detection_confidence=0.5,
                min_tracking_confidence=0.5,
            )

    def __enter__(self) -> FaceTracker:
        if not self._following:  # a single look is over before the graph's threads have had their say
            self._quiet.enter_context(_quiet_stderr())
        return self

    def __exit__(self, *_: object) -> None:
        with self._quiet, _quiet_stderr():
            self._mesh.close()

    def find(self, image: Image) -> list[Floats]:
        """Faces of a (H, W, 3) RGB picture as (478, 3) float32 image px, the largest first."""
        height, width = image.shape[:2]
        shrink = min(1.0, _MESH_SIDE / max(height, width))
        if shrink < 1:
            image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        if self._loud_calls:
            self._loud_calls -= 1
            with _quiet_stderr():  # the graph's threads speak while they start
                found = self._mesh.process(image)
        else:
            found = self._mesh.process(image)
        size = np.array([width, height, width], np.float32)  # z comes in the scale of x
        faces = [
            np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32) * size
            for face in found.multi_face_landmarks or ()
        ]
        # A mesh can come out flat on something that is no face.
        faces = [f for f in faces if f.shape == (LANDMARKS, 3) and interocular_distance(f) > 1.0]
        return sorted(faces, key=interocular_distance, reverse=True)

    def find_small(self, image: Image) -> list[Floats]:
        """A second look for faces that are small in the picture: detect at long range, enlarge, find again."""
        height, width = image.shape[:2]
        with _quiet_stderr(), self._solutions.face_detection.FaceDetection(model_selection=1) as detector:
            found = detector.process(image).detections or ()
        faces = []
        for detection in found:
            box = detection.location_data.relative_bounding_box
            side = 2.5 * max(box.width * width, box.height * height)
            centre_x, centre_y = (box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height
            zoom = _SECOND_LOOK_SIDE / side
            to_crop = np.array(
                [
                    [zoom, 0, _SECOND_LOOK_SIDE / 2 - zoom * centre_x],
                    [0, zoom, _SECOND_LOOK_SIDE / 2 - zoom * centre_y],
                ]
            )
            crop = cv2.warpAffine(
                image,
                to_crop,
                (_SECOND_LOOK_SIDE, _SECOND_LOOK_SIDE),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for face in self.find(crop)[:1]:
                points = face / zoom
                points[:, :2] += (centre_x - side / 2, centre_y - side / 2)
                faces.append(points.astype(np.float32))
        return sorted(faces, key=interocular_distance, reverse=True)


def track(
    footage: Footage,
    *,
    face: int | None = None,
    second_look: bool = True,
    on_frame: Callable[[int, int], None] | None = None,
) -> TrackedSource:
    """Find the face in a still, or follow it through a video.

    Args:
        footage: the picture or video.
        face: which face, 1 = the largest of the first frame; None takes the largest and says so if there are more.
        second_look: search a picture once more for a small face where the first look finds none.
        on_frame: called with (frames done, frames in all).

    Raises:
        NoFaceError: no face, or fewer faces than asked for.
    """
    if footage.is_still:
        faces = _track_still(footage, face, second_look)
        visible: tuple[bool, ...] = ()
    else:
        faces, visible = _track_video(footage, face, on_frame)
    iod = float(np.median([f.pose.iod for f in faces]))
    if iod < MIN_COMFORTABLE_IOD:
        log.warning(
            "The face in %s is small (%.0f px between the eyes): a picture with at least %.0f px will look better.",
            footage.name,
            iod,
            MIN_COMFORTABLE_IOD,
        )
    return TrackedSource(footage, tuple(faces), visible)


def _choose(found: list[Floats], face: int | None, name: str) -> Floats:
    if face is not None and face > len(found):
        raise NoFaceError(f"{name} has {len(found)} face(s): --face {face} asks for one that is not there.")
    if face is None and len(found) > 1:
        log.warning("%s has %d faces: the largest is taken (--face N picks another).", name, len(found))
    return found[(face or 1) - 1]


def _no_face(name: str, image: Image) -> NoFaceError:
    height, width = image.shape[:2]
    return NoFaceError(
        f"no face found in {name} ({width}×{height}): give a picture or a video that shows one face from the front, "
        "both eyes and the mouth in view."
    )


def _track_still(footage: Footage, face: int | None, second_look: bool) -> list[TrackedFace]:
    image = footage[0]
    with FaceTracker(following=False) as tracker:
        found = tracker.find(image)
        if second_look and (not found or (face or 1) > len(found)):
            small = tracker.find_small(image)
            found = small if len(small) > len(found) else found
    if not found:
        raise _no_face(footage.name, image)
    return [TrackedFace(_choose(found, face, footage.name))]


def _track_video(
    footage: Footage, face: int | None, on_frame: Callable[[int, int], None] | None
) -> tuple[list[TrackedFace], tuple[bool, ...]]:
    longest_gap = max(1, round(_LONGEST_GAP_S * (footage.fps or 25.0)))
    tracks: list[Floats | None] = []
    last: Floats | None = None
    gone = 0  # frames since the face was seen
    with FaceTracker(following=True) as tracker:
        for k in range(len(footage)):
            found = tracker.find(footage[k])
            if last is None:
                seen = _choose(found, face, footage.name) if found else None
            elif gone > longest_gap:  # a cut, or somebody left: whoever is largest now
                seen = found[0] if found else None
            else:
                seen = _same_person(found, last)
            tracks.append(seen)
            last, gone = (last, gone + 1) if seen is None else (seen, 0)
            if on_frame:
                on_frame(k + 1, len(footage))
    there = np.array([t is not None for t in tracks])
    if there.mean() < _LEAST_SEEN:
        raise _no_face(footage.name, footage[0])
    if there.all():
        return [TrackedFace(p) for p in _smooth(np.stack([t for t in tracks if t is not None]))], ()
    at = np.flatnonzero(there)
    points = _interpolate(np.stack([tracks[k] for k in at]), at, len(tracks))
    after = np.clip(np.searchsorted(at, np.arange(len(tracks))), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    frames = np.arange(len(tracks))
    to_seen = np.minimum(np.abs(at[after] - frames), np.abs(at[before] - frames))
    visible = to_seen <= longest_gap // 2
    log.warning(
        "no face in %d of %d frames of %s: in short gaps its place is taken from the frames around, long ones stay "
        "as they are.",
        int((~there).sum()),
        len(there),
        footage.name,
    )
    return [TrackedFace(p) for p in _smooth(points)], tuple(bool(v) for v in visible)


def _same_person(found: list[Floats], last: Floats) -> Floats | None:
    """The face nearest to where it was, if it is near enough to be the same."""
    centre, reach = last[:, :2].mean(axis=0), 1.5 * interocular_distance(last)
    distances = [float(np.linalg.norm(f[:, :2].mean(axis=0) - centre)) for f in found]
    if not distances or min(distances) > reach:
        return None
    return found[int(np.argmin(distances))]


def _interpolate(points: Floats, at: npt.NDArray[np.intp], frames: int) -> Floats:
    """Values at every frame from values at some, linear between and held at the ends."""
    t = np.arange(frames)
    after = np.clip(np.searchsorted(at, t), 0, len(at) - 1)
    before = np.maximum(after - (at[after] > t), 0)
    span = np.maximum(at[after] - at[before], 1)
    weight = np.clip((t - at[before]) / span, 0, 1)[:, None, None]
    blended: Floats = ((1 - weight) * points[before] + weight * points[after]).astype(np.float32)
    return blended


def _smooth(points: Floats) -> Floats:
    """A three-frame weighted mean over time, the ends held."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    smooth: Floats = sum(w * padded[i : i + len(points)] for i, w in enumerate(_SMOOTHING))
    return smooth
