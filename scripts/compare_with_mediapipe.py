"""Compare the face models with MediaPipe 0.10.21 on the shared media and print the largest differences.

    make compare-mediapipe                                      # Python 3.10 to 3.12; creates .venv-mediapipe
    .venv-mediapipe/bin/python scripts/compare_with_mediapipe.py --write    # also rewrites the goldens of the tests

Differences are in % of the inter-ocular distance (IOD). Results: docs/method/face_models.md, Agreement with MediaPipe.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import mediapipe
import numpy as np

from liveportrait_talker.errors import TalkerError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.segmentation import PersonSegmenter
from liveportrait_talker.media import open_footage

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
GOLDEN = ROOT / "tests" / "goldens" / "mediapipe_faces.npz"
FRAMES = 100  # per clip
MAX_SIDE = 1280  # px; FaceFinder reduces larger images
GOLDEN_CLIPS = ("andrew_1", "aoc", "debate_woman", "grid_lbbc2a", "head_turns", "old_poet", "vox_jamie", "zh_man")
GOLDEN_FRAMES = (0, 40, 41, 42)
STILL_LIMIT, STEP_LIMIT, MASK_LIMIT = 0.05, 0.05, 5e-4  # % IOD, % IOD, of 1
WRONG_IN_MEDIAPIPE = ("upside_down.jpg",)
GOLDEN_MASKS = ("frontal_photo.png", "small_face.png", "tall_painting.jpg")
MASK_STEP = 16


def main() -> int:
    """Compare, print and optionally write the goldens; return 1 if a difference exceeds its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {GOLDEN.relative_to(ROOT)}")
    options = parser.parse_args()
    # MediaPipe's messages on stderr cannot be disabled: only Python keeps the original stderr.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    golden: dict[str, np.ndarray] = {}
    equal = [compare_stills(golden), compare_clips(golden), compare_masks(golden)]
    if options.write:
        np.savez_compressed(GOLDEN, **golden)
        print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes")
    print("equal within the limits" if all(equal) else "a difference exceeds its limit")
    return int(not all(equal))


def compare_stills(golden: dict[str, np.ndarray]) -> bool:
    """Compare the faces in all readable shared images and the example."""
    finder, worst, count, equal = FaceFinder(), 0.0, 0, True
    with face_mesh(static_image_mode=True, max_num_faces=20) as mesh:
        for path in stills():
            try:
                image = open_footage(path)[0]
            except TalkerError:
                continue
            theirs, ours = faces(mesh, image), finder.find(image)
            count += 1
            golden[f"still.{path.name}"] = theirs
            differences = [min((difference(face, other).max() for other in ours), default=np.inf) for face in theirs]
            if path.name in WRONG_IN_MEDIAPIPE:
                continue
            if len(theirs) != len(ours):
                print(f"{path.name}: {len(theirs)} faces in MediaPipe, {len(ours)} here")
                equal = False
            worst = max(worst, *differences, 0.0)
    print(f"stills: {count}, largest difference {worst:.4f} % IOD, {', '.join(WRONG_IN_MEDIAPIPE)} excluded")
    return equal and worst <= STILL_LIMIT


def compare_clips(golden: dict[str, np.ndarray]) -> bool:
    """Compare following: whole clips, and single steps from MediaPipe's landmarks. Only steps have a limit."""
    finder, equal = FaceFinder(), True
    their_seconds = our_seconds = 0.0
    frames = 0
    for path in clips():
        with open_footage(path) as footage, face_mesh(static_image_mode=False, max_num_faces=1) as mesh:
            images = [footage[k] for k in range(min(FRAMES, len(footage)))]
            mesh.process(images[0])
            mesh.reset()
            started = time.perf_counter()
            theirs = [next(iter(faces(mesh, image)), None) for image in images]
            their_seconds += time.perf_counter() - started
        started, ours, last = time.perf_counter(), [], None
        for image in images:
            last = None if last is None else finder.follow(image, last)
            if last is None:
                last = next(iter(finder.find(image)), None)
            ours.append(last)
        our_seconds += time.perf_counter() - started
        frames += len(images)
        pairs = list(zip(theirs, ours, strict=True))
        missed = sum((a is None) != (b is None) for a, b in pairs)
        mean = np.mean([difference(a, b).mean() for a, b in pairs if a is not None and b is not None])
        steps = [
            step(finder, images[k], theirs[k - 1], theirs[k])
            for k in range(1, len(images))
            if theirs[k] is not None and theirs[k - 1] is not None
        ]
        print(f"{path.stem:24} frames with a face in only one: {missed}; mean {mean:.4f}, steps {max(steps):.4f} % IOD")
        equal = equal and not missed and max(steps) <= STEP_LIMIT
        if path.stem in GOLDEN_CLIPS:
            golden[f"clip.{path.stem}"] = np.stack([theirs[k] for k in GOLDEN_FRAMES])
    print(f"ms per frame: MediaPipe {1e3 * their_seconds / frames:.2f}, FaceFinder {1e3 * our_seconds / frames:.2f}")
    return equal


def step(finder: FaceFinder, image: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Return the largest difference from `after` when following from `before`; infinite if the face is lost."""
    found = finder.follow(image, before)
    return np.inf if found is None else float(difference(after, found).max())


def compare_masks(golden: dict[str, np.ndarray]) -> bool:
    """Compare the masks of the person."""
    segmenter, worst = PersonSegmenter(), 0.0
    with mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0) as theirs:
        for path in sorted((DATA / "portraits").iterdir()):
            image = open_footage(path)[0]
            mask = theirs.process(image).segmentation_mask
            worst = max(worst, float(np.abs(mask - segmenter.segment(image)).max()))
            if path.name in GOLDEN_MASKS:
                golden[f"mask.{path.name}"] = mask[::MASK_STEP, ::MASK_STEP]
    print(f"segmentation: largest difference {worst:.6f}")
    return worst <= MASK_LIMIT


def stills() -> Iterator[Path]:
    """Yield images with and without faces."""
    yield PORTRAIT
    for folder in ("portraits", "bad", "cases"):
        for path in sorted((DATA / folder).iterdir()):
            if path.suffix in (".png", ".jpg", ".webp", ".avif", ".heic"):
                yield path


def clips() -> Iterator[Path]:
    """Yield videos of one face."""
    for folder in ("talking", "talking2", "driving"):
        yield from sorted((DATA / folder).glob("*.mp4"))
    yield DATA / "cases" / "cutaway_to_a_landscape.mp4"
    yield DATA / "cases" / "first_frame_black.mp4"


def face_mesh(**options: Any) -> Any:
    """Return MediaPipe's face mesh with 478 landmarks."""
    return mediapipe.solutions.face_mesh.FaceMesh(
        refine_landmarks=True, min_detection_confidence=0.5, min_tracking_confidence=0.5, **options
    )


def faces(mesh: Any, image: np.ndarray) -> np.ndarray:
    """Return MediaPipe's landmarks (n, 478, 3) float32, image px."""
    height, width = image.shape[:2]
    shrink = MAX_SIDE / max(height, width)
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    found = mesh.process(image).multi_face_landmarks or ()
    points = [[(p.x, p.y, p.z) for p in face.landmark] for face in found]
    return np.array(points, np.float32).reshape(-1, 478, 3) * np.array([width, height, width], np.float32)


def difference(face: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the absolute differences (478, 3), % IOD."""
    return 100 * np.abs(face - other) / np.linalg.norm(face[33] - face[263])


if __name__ == "__main__":
    sys.exit(main())
