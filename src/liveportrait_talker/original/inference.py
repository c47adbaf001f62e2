"""The 2024 original's `inference.py` on top of `Talker` (docs/method/original.md, Commands)."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from ..cli.console import Bars, prepare_streams
from ..cli.generate import describe
from ..cli.main import Parser, guarded
from ..cli.report import print_report
from ..errors import MediaError, TalkerError
from ..options.talk import PUPIL_RANGE, TalkOptions
from .config import InferenceConfig, read_inference

log = logging.getLogger(__name__)

# Replaces flags of `liveportrait-talker generate` in error messages.
_ORIGINAL_NAMES = {
    "--ref-head-pose": "--ref_head_pose_path",
    "--ref-frames-from-zero": "--ref_frames_from_zero",
    "--no-crop": "--no_crop",
    "--pupil-x": "--pupil_x",
    "--pupil-y": "--pupil_y",
    "--device": "inference.device",
    "--fps": "inference.fps",
    "--batch-size": "inference.batch_size",
    "--precision": "inference.lp_render.flag_use_half_precision",
    "--window-rows": "2 × inference.map2lp.semantic_radius",
    "--driving-multiplier": "inference.lp_render.driving_multiplier",
    "--driving-smooth-observation-variance": "inference.lp_render.driving_smooth_observation_variance",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Make one video. Returns the exit code: 0 success, 1 internal error, 2 user error, 130 Ctrl-C."""
    prepare_streams()
    arguments = _parser().parse_args(argv)
    return guarded(lambda: _run(arguments), debug=arguments.debug, quiet=arguments.quiet)


def talk_options(config: InferenceConfig, arguments: argparse.Namespace, *, still_source: bool) -> TalkOptions:
    """Translate the configuration and the flags.

    Args:
        config: the section `inference`.
        arguments: still, ref_head_pose_path, ref_frames_from_zero, pupil_x, pupil_y, no_crop.
        still_source: whether the source is a picture; a video keeps its own head motion and blinks.

    Raises:
        OptionError: a value is out of range, or two contradict each other.
    """
    free_head = still_source and not arguments.still and arguments.ref_head_pose_path is None
    if config.head_from_voice and not free_head:
        log.warning("inference.audio2coeff.flag_pose needs a picture, without --still or --ref_head_pose_path.")
    from_voice = free_head and config.head_from_voice
    return TalkOptions(
        renderer="neural",
        driver="learned",
        head_pose="audio" if from_voice else None,
        still=arguments.still,
        ref_head_pose=arguments.ref_head_pose_path,
        ref_frames_from_zero=arguments.ref_frames_from_zero and arguments.ref_head_pose_path is not None,
        head_style="classic" if free_head and not from_voice else "natural",
        blink=(True if still_source else None) if config.blink else False,
        gaze="still",  # the original adds no gaze motion
        pupil_x=arguments.pupil_x,
        pupil_y=arguments.pupil_y,
        window_rows=None if config.semantic_radius is None else 2 * config.semantic_radius,
        driving_smooth_observation_variance=config.observation_variance,
        normalize_lip=False,  # the original does not close parted lips
        driving_multiplier=config.driving_multiplier,
        crop_to_face=not arguments.no_crop,
        device=config.device,
        # The original's half precision is for GPUs; `auto` selects a format for the device.
        precision="auto" if config.half_precision else "fp32",
        batch_size=config.batch_size,
        fps=config.fps,
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="inference.py",
        description="The 2024 original's command: a picture or video and a voice become a talking video, "
        "SAVE_PATH/SOURCE/AUDIO_TIME.mp4, tagged as AI-generated.",
    )
    add = parser.add_argument
    add("--config_path", type=Path, required=True, metavar="YAML", help="such as examples/config.yaml")
    add("--source_path", type=Path, required=True, metavar="SOURCE", help="picture or video with a face")
    add("--audio_path", type=Path, required=True, metavar="VOICE", help="sound, or a video whose sound is used")
    add("--save_path", type=Path, default=Path("outputs"), metavar="DIR", help="folder for results (default ./outputs)")
    add("--ref_head_pose_path", type=Path, metavar="VIDEO", help="video whose head motion is used")
    add("--ref_frames_from_zero", action="store_true", help="start at its first frame, not at a random one")
    add("--still", action="store_true", help="add no head motion")
    pupils = f"−{PUPIL_RANGE:g}…{PUPIL_RANGE:g} (default 0)"
    add("--pupil_x", type=float, default=0.0, metavar="N", help=f"turn the irises, + to the picture's right, {pupils}")
    add("--pupil_y", type=float, default=0.0, metavar="N", help=f"turn the irises, + up, {pupils}")
    add("--no_crop", action="store_true", help="the picture is a face crop already: use the whole frame as the face")
    add("--debug", action="store_true", help="show the traceback of an error")
    add("--quiet", action="store_true", help="no progress, no notes, only errors")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from ..pipelines.talk import Talker

    source, voice = arguments.source_path, arguments.audio_path
    with _translate_flags():
        config = read_inference(arguments.config_path)
        options = talk_options(config, arguments, still_source=_is_still(source))
        with _output(arguments.save_path, source, voice) as out, Bars(quiet=arguments.quiet) as bars:
            report = Talker(weights=config.weights).save(source, voice, out, options, on_progress=bars)
    print_report(report, describe(report), arguments)
    return 0


def _is_still(source: Path) -> bool:
    from ..media import open_footage

    with open_footage(source, max_side=None) as footage:
        return footage.is_still


@contextmanager
def _output(save_path: Path, source: Path, voice: Path) -> Iterator[Path]:
    """Yield `save_path`/SOURCE/VOICE_ddmmyyyy-HHMMSS.mp4; create its folder, and remove it if it stays empty.

    Only the last suffix of a name is removed, and a name in use, also by a concurrent run, gets a number
    (docs/earlier_systems.md, defects 55 and 52).
    """
    # Path("...png").stem is "..", the parent of save_path.
    folder = save_path / (source.name if source.stem in (".", "..") else source.stem)
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            out, marker = _reserve(folder, f"{voice.stem}_{datetime.now():%d%m%Y-%H%M%S}")
        except OSError as error:
            raise MediaError(f"cannot write to {folder} ({error.strerror}); give another --save_path") from error
        try:
            yield out
        finally:
            marker.unlink(missing_ok=True)
    finally:
        for path in created:
            with suppress(OSError):  # not empty
                path.rmdir()


def _reserve(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a free file name, and a hidden file that reserves it for this run."""
    for number in count(1):
        out = folder / (f"{name}.mp4" if number == 1 else f"{name}_{number}.mp4")
        marker = out.with_name(f".{out.name}.reserved")
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            continue
        if not out.exists():
            return out, marker
        marker.unlink()
    raise AssertionError


@contextmanager
def _translate_flags() -> Iterator[None]:
    """Replace our flags in error messages by this command's flags and keys of config.yaml."""
    try:
        yield
    except TalkerError as error:
        text = re.sub(r"--[a-z]+(?:-[a-z]+)*", lambda flag: _ORIGINAL_NAMES.get(flag[0], flag[0]), str(error))
        raise type(error)(text) from error
