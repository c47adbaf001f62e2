"""Measure how much a drawn person looks like the real one: clips drawn again from one of their own frames.

    python scripts/measure_likeness.py ../shared/data/talking/*.mp4 --tools ../shared/tools [--colours ../fit]

The figures of `mouth_look.py` in the folder --tools, with this package's landmarks, on every --every-th frame, without a
codec between. `--colours`: files of `fit_mouth_colours.py --leave-one-out`, with which no person's mouth is drawn by what
was fitted on that person. Source: docs/performance.md, Looks.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from fit_mouth_colours import SAME_SPEAKER

from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from liveportrait_talker.options.animate import AnimateOptions
from liveportrait_talker.pipelines.animate import retarget_to
from liveportrait_talker.pipelines.run import turn_limit
from liveportrait_talker.render.embedded import mouth, mouth_examples
from liveportrait_talker.render.embedded.mouth_colours import MouthColours
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.paste import composite

LONGEST = 250  # frames of a clip
FIGURES = ("inner_dE", "teeth_dL", "teeth_da", "teeth_db", "mouth_ssim", "eye_ssim", "r_aperture")


def load_meter(folder):
    """Return the module `mouth_look` of a folder."""
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("mouth_look", folder / "mouth_look.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def use_colours(folder, name):
    """Draw mouths with colours that were fitted without the speaker of a clip."""
    colours = MouthColours(folder / f"mouth_colours_without_{SAME_SPEAKER.get(name, name)}.npz")
    for module in (mouth, mouth_examples):
        module.mouth_colours = lambda: colours


def measure(path, meter, every):
    """Return the figures of a clip."""
    with open_footage(path) as footage:
        faces = track(footage, warn_covered_mouth=False).faces
        start = meter.start_frame([(None, face.landmarks) for face in faces])
        faces = faces[start : start + LONGEST]
        width, height = (side - side % 2 for side in footage.size)
        real = [footage[start + k][:height, :width] for k in range(len(faces))]
        fps = footage.fps
    source = TrackedSource(Footage.from_frames(path.name, real[:1], None), faces[:1])
    driving = TrackedSource(Footage.from_frames(path.name, real, fps), faces)
    face = EmbeddedRenderer().prepare(source)
    options = AnimateOptions(relative_motion=False)
    motion = retarget_to(measure_faces(driving), source, fps, len(real), options, max_turn_deg=turn_limit(face))
    shown = np.arange(0, len(real), every)
    head = HeadTrack(*(getattr(motion.head, name)[shown] for name in ("rotation_deg", "shift", "scale")))
    controls = MouthControls(motion.mouth.values[shown])
    part = MotionTrack(fps, head, motion.blink[shown], motion.gaze[shown], controls, motion.brows[shown])
    finder, pairs = FaceFinder(), ([], [])
    for k, drawn in zip(shown, face.frames(part), strict=True):
        image = composite(source, drawn)
        pairs[0].append((real[k], faces[k].landmarks))
        pairs[1].append((image, finder.follow(image, faces[k].landmarks)))
    return meter.compare(*pairs)


def main():
    """Measure, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--tools", type=Path, required=True, help="folder of mouth_look.py")
    parser.add_argument("--colours", type=Path)
    parser.add_argument("--every", type=int, default=4)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    meter, rows = load_meter(arguments.tools.resolve()), []
    for path in arguments.clips:
        if arguments.colours is not None:
            use_colours(arguments.colours, path.stem)
        rows.append(measure(path, meter, arguments.every))
        values = {name: rows[-1][name] for name in FIGURES}
        print(path.stem, {name: None if v is None else round(v, 3) for name, v in values.items()}, flush=True)
    for name in FIGURES:
        values = np.array([row[name] for row in rows if row[name] is not None])
        absolute = f" (absolute: {np.abs(values).mean():.1f})" if name == "teeth_dL" else ""
        print(f"mean {name} {values.mean():.3f} of {len(values)} clips{absolute}")


if __name__ == "__main__":
    main()
