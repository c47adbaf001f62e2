"""Fit the colours of the mouth interior (`render/embedded/mouth_colours.npz`), test them with speakers left out.

    python scripts/fit_mouth_colours.py --shared ../shared --work ../fit --leave-one-out
    python scripts/fit_mouth_colours.py --shared ../shared --work ../fit \
        --out src/liveportrait_talker/render/embedded/mouth_colours.npz

Needs PyTorch; about three minutes of tracking on two cores, three quarters of a minute for a fit. `--leave-one-out` prints figures
and writes one file per speaker into --work, fitted without that speaker and others of the same group. Source:
docs/method/embedded_renderer.md, Mouth colours.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage
from liveportrait_talker.render.embedded import mouth_colours
from liveportrait_talker.render.embedded.mesh import PortraitMesh
from liveportrait_talker.render.embedded.model import face_model
from liveportrait_talker.render.embedded.mouth_colours import ACROSS, ROWS, describe_opening, to_lab
from liveportrait_talker.render.embedded.mouth_plane import MouthPlane

SAME_SPEAKER = {"andrew_1": "andrew", "andrew_2": "andrew", "obama_1": "obama", "obama_2": "obama"}
FRAMES = 80  # of a clip
LEAST_APERTURE, LEAST_GAP = 0.04, 0.02  # IOD
GROUPS = 6  # of speakers, each left out as a whole
HIDDEN, STEPS, FACES, POINTS = 64, 2500, 48, 96
LEARNING_RATE, WEIGHT_DECAY = 6e-3, 1e-3
SCALE = 20.0  # of the output, CIELAB
# What the inputs do not tell, such as how long the teeth are, is a code for each speaker and one for each frame: a fit
# without them is a blend of all mouths, grey from lip to lip. The shipped network has the mean codes.
SPEAKER_CODE, FRAME_CODE = 6, 4
CODE_RATE, CODE_NOISE, CODE_PENALTY = 0.03, 0.3, 0.3
STRANGERS = 0.6  # standard deviation of the noise on the description of a face: strangers are not like these
RARE_GAPS = (0.05, 0.08, 0.11, 0.14, 0.18)  # IOD; wide openings are rare and count more


def sample_interior(image, face):
    """Return the colours (ROWS, ACROSS, 3) between the lips, CIELAB, and the opening."""
    mesh = PortraitMesh(face, face_model())
    plane, still = MouthPlane(face, mesh), np.zeros(2)
    opening = plane.opening(mesh.position, mesh.rotation, still, 1.0)
    across = (np.arange(ACROSS) + 0.5) / ACROSS
    columns = np.linspace(0, 1, len(opening.upper))
    upper, lower = (np.interp(across, columns, edge) for edge in (opening.upper, opening.lower))
    down = ((np.arange(ROWS) + 0.5) / ROWS)[:, None]
    v = upper + (lower - upper) * down
    u = np.broadcast_to(opening.left + across * (opening.right - opening.left), v.shape)
    affine = np.eye(3)
    affine[:2] = plane.from_pixels(np.zeros(2), mesh.rotation, still, 1.0)
    back = np.linalg.inv(affine)
    x, y = (back[k, 0] * u + back[k, 1] * v + back[k, 2] for k in (0, 1))
    pixels = cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    return to_lab(pixels), opening


def read_clip(path):
    """Return for the chosen frames of a clip the interiors, openings and skins, and skin and lip where lips are shut."""
    with open_footage(path) as footage:
        faces = track(footage).faces
        apertures = np.array([face.aperture for face in faces])
        opened = np.flatnonzero(apertures > LEAST_APERTURE)
        chosen = opened[np.linspace(0, len(opened) - 1, min(FRAMES, len(opened))).astype(int)] if len(opened) else []
        shut = int(np.argmin(apertures[: max(1, int(0.4 * len(apertures)))]))
        grids, described, skins = [], [], []
        for k in sorted({shut, *map(int, chosen)}):
            image, face = footage[k], faces[k]
            if k == shut:
                at_rest = mouth_colours.measure_skin(image, face), mouth_colours.measure_lip(image, face)
            grid, opening = sample_interior(image, face)
            if k in chosen and opening.gap > LEAST_GAP:
                grids.append(grid)
                described.append((opening.gap, opening.half_width, opening.yaw, opening.pitch))
                skins.append(mouth_colours.measure_skin(image, face))
    return np.array(grids), np.array(described), np.array(skins), *at_rest


def read_data(shared, work):
    """Return all clips' data by name, from --work where it is there."""
    data = {}
    for path in sorted(shared.glob("data/talking*/*.mp4")):
        kept = work / f"mouth_{path.stem}.npz"
        if not kept.exists():
            np.savez_compressed(
                kept, **dict(zip(("grid", "opening", "skin", "face", "lip"), read_clip(path), strict=True))
            )
        with np.load(kept) as stored:
            clip = dict(stored)
        print(f"{path.stem}: {len(clip['grid'])} frames", flush=True)
        if len(clip["grid"]):
            data[path.stem] = clip
    return data


def fit(data, speakers, seed=0):
    """Return the arrays of a fitted network."""
    clips = {name: clip for name, clip in data.items() if SAME_SPEAKER.get(name, name) in speakers}
    counts = {who: sum(len(c["grid"]) for n, c in clips.items() if SAME_SPEAKER.get(n, n) == who) for who in speakers}
    weights, faces, inputs, targets, owners = [], [], [], [], []
    for name, clip in clips.items():
        scale = (clip["face"][0] + 16) / 76
        face = np.concatenate([clip["face"], (clip["lip"] - clip["face"]) / scale])
        for grid, opening, skin in zip(clip["grid"], clip["opening"], clip["skin"], strict=True):
            weights.append(min(1 / counts[SAME_SPEAKER.get(name, name)], 0.1))
            faces.append(face)
            owners.append(speakers.index(SAME_SPEAKER.get(name, name)))
            inputs.append(describe_opening(*opening))
            targets.append((grid - skin) / ((skin[0] + 16) / 76))
    gaps = np.digitize([o[0] for clip in clips.values() for o in clip["opening"]], RARE_GAPS)
    chance = np.array(weights)
    chance *= np.array([1 / np.sqrt(chance[gaps == gap].sum()) for gap in gaps])
    chance /= chance.sum()
    mean = (np.array(faces) * chance[:, None]).sum(axis=0)
    spread = np.sqrt(((np.array(faces) - mean) ** 2 * chance[:, None]).sum(axis=0))
    described = torch.tensor(
        np.clip((np.array(faces) - mean) / spread, -mouth_colours.MOST, mouth_colours.MOST)
    ).float()
    x, y = (torch.tensor(np.array(v, np.float32)).reshape(len(v), ROWS * ACROSS, -1) for v in (inputs, targets))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    first = x.shape[2] + described.shape[1]
    layers = nn.Linear(first + SPEAKER_CODE + FRAME_CODE, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 3)
    net = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
    of_speakers = nn.Parameter(0.01 * torch.randn(len(speakers), SPEAKER_CODE))
    of_frames = nn.Parameter(0.01 * torch.randn(len(x), FRAME_CODE))
    optimizer = torch.optim.AdamW(
        [
            {"params": net.parameters(), "weight_decay": WEIGHT_DECAY},
            {"params": [of_speakers, of_frames], "lr": CODE_RATE, "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    owner = torch.tensor(owners)
    for _ in range(STEPS):
        i = torch.tensor(rng.choice(len(x), FACES, p=chance))
        j = torch.tensor(rng.integers(0, ROWS * ACROSS, POINTS))
        stranger = described[i][:, None] + STRANGERS * torch.randn(FACES, 1, described.shape[1])
        code = torch.cat([of_speakers[owner[i]], of_frames[i]], dim=1)
        noisy = code + CODE_NOISE * torch.randn_like(code)
        of_face = torch.cat([stranger.expand(-1, POINTS, -1), noisy[:, None].expand(-1, POINTS, -1)], dim=2)
        drawn = net(torch.cat([x[i][:, j], of_face], dim=2)) * SCALE
        loss = nn.functional.huber_loss(drawn, y[i][:, j], delta=15.0) + CODE_PENALTY * (code**2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    mean_code = torch.cat([of_speakers.mean(dim=0), torch.tensor(chance).float() @ of_frames]).detach().numpy()
    about = f"Fitted by scripts/fit_mouth_colours.py on {len(clips)} public talking clips of {len(speakers)} people."
    arrays = {"about": np.array(about), "face_mean": mean.astype(np.float32), "face_spread": spread.astype(np.float32)}
    for k, layer in enumerate(layers):
        weight, bias = layer.weight.detach().numpy().T, layer.bias.detach().numpy()
        if k == 0:
            weight, bias = weight[:first], bias + mean_code @ weight[first:]
        scale = SCALE if k == 2 else 1.0
        arrays[f"weight_{k}"] = (scale * weight).astype(np.float32)
        arrays[f"bias_{k}"] = (scale * bias).astype(np.float32)
    return arrays


def judge(weights, clip):
    """Return the median colour difference of the means, ΔE 1976, over a clip's frames with a gap above 0.06 IOD."""
    colours = mouth_colours.MouthColours(weights)
    errors = []
    for grid, (gap, half, yaw, pitch), skin in zip(clip["grid"], clip["opening"], clip["skin"], strict=True):
        if gap > 0.06:
            lip = skin + (clip["lip"] - clip["face"]) * (skin[0] + 16) / (clip["face"][0] + 16)
            drawn = colours.predict_at(describe_opening(gap, half, yaw, pitch), skin, lip)
            errors.append(np.linalg.norm((grid - drawn).mean(axis=(0, 1))))
    return float(np.median(errors)) if errors else None


def main():
    """Fit, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--leave-one-out", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.work.mkdir(parents=True, exist_ok=True)
    data = read_data(arguments.shared, arguments.work)
    speakers = sorted({SAME_SPEAKER.get(name, name) for name in data})
    if arguments.leave_one_out:
        errors = []
        for group in (speakers[k::GROUPS] for k in range(GROUPS)):
            fitted = fit(data, [other for other in speakers if other not in group])
            files = {speaker: arguments.work / f"mouth_colours_without_{speaker}.npz" for speaker in group}
            for file in files.values():
                np.savez(file, **fitted)
            for name, clip in data.items():
                file = files.get(SAME_SPEAKER.get(name, name))
                if file is not None and (error := judge(file, clip)) is not None:
                    print(f"{name}: {error:.1f}", flush=True)
                    errors.append(error)
        print(f"mean {np.mean(errors):.2f} dE")
    if arguments.out:
        np.savez(arguments.out, **fit(data, speakers))
        print(f"{arguments.out}: fitted on {len(data)} clips of {len(speakers)} people")


if __name__ == "__main__":
    main()
