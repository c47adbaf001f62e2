"""Fit the human ranges of `score` (`scoring/human_ranges.json`) on clips of people, and test them on others.

    python scripts/fit_human_ranges.py --shared ../shared --work ../ranges --weights ../loso

Needs the talking clips of ../shared (26 of 24 people), and the weights of the signal driver without each speaker
(`fit_signal_driver.py --leave-one-out`): with the shipped ones, mouths of these clips agree too well with the sound. Their figures are kept in --work, one file a clip: delete them
after a change of what is measured. Written are the ranges of all clips; printed is which share of the figures of all
clips lies inside, with ranges of these clips, of one half for the other, and of all speakers but the clip's own.

A range reaches beyond the 10th and 90th percentile by WIDEN times their distance from the median; figures that are
positive by nature are taken in logarithms. Sides that no viewer minds are open (`Figure.below`, `above`).
Source: docs/score.md, Human ranges.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.media import read_waveform
from liveportrait_talker.scoring.figures import FIGURES, RANGES_FILE, Figure
from liveportrait_talker.scoring.score import score_video
from liveportrait_talker.scoring.sound_sync import predict_aperture, sound_sync

DATASETS = ("talking", "talking2")
SAME_SPEAKER = {"andrew_1": "andrew", "andrew_2": "andrew", "obama_1": "obama", "obama_2": "obama"}
PERCENT, WIDEN = 10, 1.25
LOGARITHMIC = {"IOD", "ms", "1/min", "s", "1", "eye widths", "°", "% IOD", "°/s", "Hz"}
# Pictures that are not steady: cut out anew around the face in each frame, and blocky by compression.
UNSTEADY = {"ted_talk", "debate_woman"}
STEADINESS = {"jitter_pct", "shake_pct"}
# Ranges from elsewhere, or of which 26 clips tell too little.
GIVEN = {
    "offset_ms": (-45.0, 45.0, "ITU-R BT.1359: 45 ms of early sound are noticed"),
    "blink_gap_s": (None, 9.0, "clips: 7.9 at most"),
    "blink_closure": (None, 0.58, "clips: 0.53 at most"),
    "bg_psnr_db": (10.0, None, "clips: 10.2 at least"),
    "valid_pct": (95.0, None, "clips: 100 %"),
}
AT_LEAST = {"blinks_per_min": (10.5, 32.5, "clips; Doughty 2001: 10.5–32.5")}  # a range that includes this one

Values = dict[str, dict[str, float]]


def measure(shared: Path, work: Path, weights: Path) -> dict[str, Values]:
    """Return the figures of each clip of each data set, from --work where they are there."""
    work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Values] = {}
    for name in DATASETS:
        found[name] = {}
        for clip in sorted((shared / "data" / name).glob("*.mp4")):
            kept = work / f"{clip.stem}.json"
            if not kept.exists():
                score = score_video(clip)
                driver = SignalDriver(weights / f"without_{SAME_SPEAKER.get(clip.stem, clip.stem)}.npz")
                sync = sound_sync(score.tracks.aperture, predict_aperture(read_waveform(clip), driver))
                figures = score.figures | ({} if sync is None else sync.figures())
                kept.write_text(json.dumps({"seconds": score.seconds} | figures, indent=1))
                print(clip.stem, flush=True)
            found[name][clip.stem] = json.loads(kept.read_text())
    return found


def values_of(figure: Figure, clips: Values) -> dict[str, float]:
    """Return the values of a figure by clip, of those that it judges."""
    return {
        name: clip[figure.name]
        for name, clip in clips.items()
        if figure.name in clip and clip["seconds"] >= figure.shortest_s
    }


def fit(figure: Figure, clips: Values) -> tuple[float | None, float | None, str]:
    """Return low, high and source of a figure's range."""
    if figure.name in GIVEN:
        return GIVEN[figure.name]
    left_out = UNSTEADY if figure.name in STEADINESS else set()
    values = np.array([value for name, value in values_of(figure, clips).items() if name not in left_out])
    in_logarithms = figure.unit in LOGARITHMIC and values.min() > 0
    values = np.log(values) if in_logarithms else values
    low, middle, high = np.percentile(values, (PERCENT, 50, 100 - PERCENT))
    low, high = low - WIDEN * (middle - low), high + WIDEN * (high - middle)
    if in_logarithms:
        low, high = np.exp(low), np.exp(high)
    wanted_low, wanted_high, source = AT_LEAST.get(figure.name, (math.inf, -math.inf, "clips"))
    low, high = min(low, wanted_low), max(high, wanted_high)
    return (rounded(low) if figure.below else None, rounded(high) if figure.above else None, source)


def rounded(value: float) -> float:
    """Return a value with three digits."""
    return float(f"{value:.3g}")


def inside(ranges_of: Values, clips: Values, show: bool = False) -> tuple[int, int]:
    """Return how many figures of `clips` lie inside ranges fitted on others, and how many there are."""
    right = total = 0
    for figure in judged():
        low, high, _ = fit(figure, ranges_of)
        for name, value in values_of(figure, clips).items():
            good = (low is None or value >= low) and (high is None or value <= high)
            right, total = right + good, total + 1
            if show and not good:
                print(f"outside: {name} {figure.name} {value:.3g} ({low} … {high})")
    return right, total


def judged() -> list[Figure]:
    """Return the figures that have ranges."""
    return [figure for figure in FIGURES if figure.is_judged]


def main() -> None:
    """Fit, test, and write the ranges."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of without_SPEAKER.npz")
    arguments = parser.parse_args()
    one, other = measure(arguments.shared, arguments.work, arguments.weights).values()
    everyone = one | other
    lines = {"all clips": inside(everyone, everyone, show=True)}
    lines |= {"talking → talking2": inside(one, other), "talking2 → talking": inside(other, one)}
    left_out = [
        inside(
            {k: v for k, v in everyone.items() if SAME_SPEAKER.get(k, k) != SAME_SPEAKER.get(name, name)}, {name: clip}
        )
        for name, clip in everyone.items()
    ]
    lines["speaker left out"] = tuple(np.sum(left_out, axis=0))
    for name, (right, total) in lines.items():
        print(f"{name}: {right} of {total} figures inside, {100 * right / total:.1f} %")
    about = f"scripts/fit_human_ranges.py, {len(everyone)} clips of people (talking, talking2)"
    ranges = {f.name: dict(zip(("low", "high", "source"), fit(f, everyone), strict=True)) for f in judged()}
    RANGES_FILE.write_text(json.dumps({"made_by": about, "ranges": ranges}, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {RANGES_FILE}")


if __name__ == "__main__":
    main()
