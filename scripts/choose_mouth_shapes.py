"""Choose the mouth shapes that the hybrid renderer has its networks draw (`render/hybrid/mouth_shapes.py`).

    python scripts/choose_mouth_shapes.py --shared ../shared

Prints the table. Source: docs/method/hybrid_renderer.md, Shapes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.media import read_waveform

UNITS = np.array([0.04, 0.08, 0.08, 0.04, 0.04])  # IOD; aperture and width as `MouthExample.distance` weighs them
OPEN = 0.03  # IOD: frames with a smaller aperture show no teeth
CENTRES, ROUNDS = 9, 200
WIDEST = 99.5  # percentile of the aperture: the means of the clusters are all narrower than the widest mouths


def cluster(points):
    """Return CENTRES means by k-means (Lloyd), started from points far apart; the result has no random part."""
    centres = points[[np.argmax(points[:, 0])]]
    while len(centres) < CENTRES:
        distance = np.linalg.norm(points[:, None] - centres, axis=2).min(axis=1)
        centres = np.concatenate([centres, points[[np.argmax(distance)]]])
    for _ in range(ROUNDS):
        nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
        centres = np.stack([points[nearest == k].mean(axis=0) for k in range(CENTRES)])
    return centres, np.bincount(nearest, minlength=CENTRES) / len(points)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    data = parser.parse_args().shared / "data"
    files = sorted([*data.glob("talking/*.mp4"), *data.glob("talking2/*.mp4"), *data.glob("voices/*.wav")])
    driver = SignalDriver()
    mouths = np.concatenate([driver.mouth(read_waveform(file, max_seconds=3600), 25.0) for file in files])
    opened = mouths[mouths[:, 0] > OPEN]
    centres, shares = cluster(opened / UNITS)
    wide = opened[opened[:, 0] >= np.percentile(opened[:, 0], WIDEST)].mean(axis=0)
    print(f"{len(files)} files, {len(mouths)} frames, {len(opened)} of them open")
    for share, centre in sorted(zip((*shares, 0.0), (*(centres * UNITS), wide), strict=True), key=lambda c: c[1][0]):
        print("    (" + ", ".join(f"{value:.3f}" for value in centre) + f"),  # {share:.0%}")


if __name__ == "__main__":
    main()
