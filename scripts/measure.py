"""The bars of the embedded renderer, measured with the shared meters on the shared media: prints one table a part.

    python scripts/measure.py voice --weights DIR     # mouth against the true clips, speaker left out
    python scripts/measure.py stream --weights DIR    # the same with the driver for streams
    python scripts/measure.py fidelity                # true apertures drawn and measured again
    python scripts/measure.py still head pose
    python scripts/measure.py video --videos a.mp4 b.mp4   # finished videos, of whatever mapping, by the sync meter

Needs ../shared beside the checkout. Videos go to a temporary folder.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.driving.protocol import MouthDriver
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.face.mouth_offsets import subtract_source_mouth
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.media import Waveform
from liveportrait_talker.motion import MouthControls

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from streamed_voice import StreamedVoice

from shared import DATA, load_tool, portrait

CLIP_SETS = ("talking", "talking2")
PLAIN = TalkOptions(still=True, blink=False, gaze="still")


def scored(talker: Talker, source: Path, voice: Path, options: TalkOptions, **more: Any) -> dict[str, Any]:
    """Make a video and score it; `track` holds its face tracks."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        talker.save(source, voice, out, options)
        result: dict[str, Any] = load_tool("sync_score").score(str(out), source=str(source), **more)
        result["track"] = load_tool("face_tracks").extract(str(out))
    return result


class Given:
    """A mouth driver that plays given apertures (at 25 a second) whatever the voice says."""

    def __init__(self, mouth: np.ndarray[Any, Any]) -> None:
        self._mouth = mouth

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> MouthControls:
        """The given mouth, held at the end."""
        frames = voice.frame_count(fps)
        at = np.minimum(np.arange(frames) * 25 / fps, len(self._mouth) - 1)
        mouth = np.stack([np.interp(at, np.arange(len(self._mouth)), c) for c in self._mouth.T], axis=1)
        return subtract_source_mouth(mouth, source, fps)


def true_track(clip: str) -> dict[str, Any]:
    """The truth of a talking clip."""
    with np.load(DATA / "talking" / "tracks" / f"{clip}.npz") as data:
        return {k: data[k] for k in data.files}


def speaker(clip: str) -> str:
    """Who speaks in a clip: two of them twice."""
    return clip.removesuffix("_1").removesuffix("_2")


def stream(weights: Path, source: str) -> Iterator[str]:
    """As `voice`, by the driver for streams."""
    return voice(weights, source, StreamedVoice)


def voice(weights: Path, source: str, driver: Callable[[Path], MouthDriver] = SignalDriver) -> Iterator[str]:
    """Every talking clip's voice on a portrait, by a driver that has not heard the speaker."""
    for name in CLIP_SETS:
        rows = []
        for clip in sorted((DATA / name).glob("*.mp4")):
            talker = Talker(driver=driver(weights / f"without_{speaker(clip.stem)}.npz"))
            truth = clip.parent / "tracks" / f"{clip.stem}.npz"
            r = scored(talker, portrait(source), clip, TalkOptions(), ref=str(truth))
            rows.append((r["r_aperture0"], abs(r["lag_ms"])))
            top = np.nanpercentile(r["track"]["aperture"], 95)
            yield (
                f"{clip.stem:14s} r0 {r['r_aperture0']:.3f}  lag {r['lag_ms']:+4.0f} ms  r width {r['r_width0']:.2f}  "
                f"gain {r['aperture_gain']:.2f}  p95 {top:.3f}  silence {r.get('aperture_silence', np.nan):.3f}  "
                f"blinks {r['blinks_per_min']:.0f}/min {r.get('blink_ms', 0):.0f} ms  "
                f"yaw {r['yaw_std']:.1f} pitch {r['pitch_std']:.1f} roll {r['roll_std']:.1f} "
                f"speed {r['pose_speed']:.1f}  "
                f"sharp {r['sharpness']:.2f} bg {r['bg_psnr_db']:.1f} dB jitter {r['jitter_pct']:.2f} %"
            )
        r0, lag = np.array(rows).T
        yield f"{name}: mean r0 {r0.mean():.3f}  worst {r0.min():.3f}  median |lag| {np.median(lag):.0f} ms"


def fidelity(portraits: list[str]) -> Iterator[str]:
    """True apertures and widths drawn on portraits, measured again."""
    for name in portraits:
        for clip in ("grid_bbaf2n", "aoc", "obama_1"):
            truth = true_track(clip)
            good = np.isfinite(truth["aperture"])
            aperture = np.interp(np.arange(len(good)), np.flatnonzero(good), truth["aperture"][good])[:200]
            mouth = np.zeros((len(aperture), 5))
            mouth[:, 0] = np.maximum(aperture, 0)
            r = scored(Talker(driver=Given(mouth)), portrait(name), DATA / "talking" / f"{clip}.mp4", PLAIN)
            got = r["track"]["aperture"][: len(mouth)]
            fine = np.isfinite(got)
            slope = np.polyfit(mouth[fine, 0], got[fine], 1)[0]
            yield (
                f"{name:16s} {clip:12s} r {np.corrcoef(mouth[fine, 0], got[fine])[0, 1]:.3f}  slope {slope:.2f}  "
                f"rest {np.nanpercentile(got, 3):+.3f}"
            )


def still(portraits: list[str]) -> Iterator[str]:
    """A still head: background, steadiness, sharpness."""
    for name in portraits:
        r = scored(Talker(), portrait(name), DATA / "voices" / "en_long_pauses.wav", TalkOptions(still=True))
        yield (
            f"{name:16s} bg {r['bg_psnr_db']:.1f} dB (5 % {r['bg_psnr_p05_db']:.1f})  border {r['border_psnr_db']:.1f} dB  "
            f"jitter {r['jitter_pct']:.3f} %  sharpness {r['sharpness']:.2f}  rest {r.get('aperture_silence', np.nan):.3f}  "
            f"silent motion {r.get('silence_motion', np.nan):.4f}  blinks {r['blinks_per_min']:.0f}/min"
        )


def head(portraits: list[str]) -> Iterator[str]:
    """The default synthetic head as it arrives on the screen."""
    for name in portraits:
        for seed in (0, 1):
            r = scored(Talker(), portrait(name), DATA / "voices" / "en_man.wav", TalkOptions(seed=seed))
            shares = []
            for axis in ("pitch", "yaw", "roll"):
                x = r["track"][axis] - np.nanmean(r["track"][axis])
                power = np.abs(np.fft.rfft(np.nan_to_num(x))) ** 2
                hz = np.fft.rfftfreq(len(x), 1 / 25)
                shares.append(f"{power[hz < 1].sum() / power.sum():.2f}/{power[hz > 4].sum() / power.sum():.3f}")
            yield (
                f"{name:16s} seed {seed}  pitch {r['pitch_std']:.2f} yaw {r['yaw_std']:.2f} roll {r['roll_std']:.2f}  "
                f"speed {r['pose_speed']:.1f}°/s  <1 Hz / >4 Hz {' '.join(shares)}  sharpness {r['sharpness']:.2f}  "
                f"p95 {np.nanpercentile(r['track']['aperture'], 95):.3f}  blinks {r['blinks_per_min']:.0f} {r.get('blink_ms', 0):.0f} ms"
            )


def pose(portraits: list[str]) -> Iterator[str]:
    """A reference's head on portraits, and video2video."""
    reference = DATA / "driving" / "head_turns.mp4"
    truth = load_tool("face_tracks").extract(str(reference))
    for name in portraits:
        options = TalkOptions(ref_head_pose=reference, ref_frames_from_zero=True, blink=False, gaze="still")
        r = scored(Talker(), portrait(name), DATA / "voices" / "en_man.wav", options)
        n = min(len(truth["yaw"]), len(r["track"]["yaw"]))
        rs = [np.corrcoef(truth[a][:n], r["track"][a][:n])[0, 1] for a in ("yaw", "pitch", "roll")]
        yield f"{name:16s} reference: r yaw {rs[0]:.3f} pitch {rs[1]:.3f} roll {rs[2]:.3f}"
    for clip in ("aoc", "grid_bbaf2n"):
        source = DATA / "talking" / f"{clip}.mp4"
        other = DATA / "talking" / "grid_pwij3p.mp4"
        truth, r = true_track(clip), scored(Talker(), source, other, TalkOptions(), ref=str(true_path("grid_pwij3p")))
        n = min(len(truth["yaw"]), len(r["track"]["yaw"]))
        rs = [np.corrcoef(truth[a][:n], r["track"][a][:n])[0, 1] for a in ("yaw", "pitch", "roll")]
        yield f"{clip:16s} video2video: r yaw {rs[0]:.3f} pitch {rs[1]:.3f} roll {rs[2]:.3f}  r0 {r['r_aperture0']:.2f}"


def true_path(clip: str) -> Path:
    """The file of a clip's truth."""
    return DATA / "talking" / "tracks" / f"{clip}.npz"


def video(files: list[Path]) -> Iterator[str]:
    """Finished videos against their own sound."""
    for file in files:
        r = load_tool("sync_score").score(str(file))
        shown = ("r_env0", "r_env", "lag_env_ms", "aperture_speech", "aperture_silence", "blinks_per_min", "pose_speed")
        yield f"{file.name:24s} " + "  ".join(f"{name} {r[name]:.3g}" for name in shown if r.get(name) is not None)


def main() -> int:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=("voice", "stream", "fidelity", "still", "head", "pose", "video"))
    parser.add_argument("--videos", type=Path, nargs="+", default=[], help="for video: the files")
    parser.add_argument("--weights", type=Path, help="for voice and stream: folder of without_SPEAKER.npz")
    parser.add_argument("--portraits", nargs="+", default=["frontal_photo", "dark_skin"])
    arguments = parser.parse_args()
    if {"voice", "stream"} & set(arguments.parts) and arguments.weights is None:
        parser.error("voice and stream need --weights DIR, made by fit_signal_driver.py or fit_speech_stream.py")
    logging.getLogger("liveportrait_talker").setLevel(logging.ERROR)
    for part in arguments.parts:
        print(f"== {part}")
        left_out = arguments.weights, arguments.portraits[0]
        given = {"voice": left_out, "stream": left_out, "video": (arguments.videos,)}
        lines = globals()[part](*given.get(part, (arguments.portraits,)))
        for line in lines:
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
