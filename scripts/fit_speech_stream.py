"""Fit the network of the voice driver for streams (`driving/signal/speech_stream.npz`).

    python scripts/fit_speech_stream.py --shared ../shared --work ../fit --out ../loso --leave-one-out
    python scripts/fit_speech_stream.py --shared ../shared --work ../fit --out src/liveportrait_talker/driving/signal

As `fit_signal_driver.py`, of which it uses the stages clips and speech and the groups of speakers; its own stages are

3. stream_starts: networks trained to classify the phones of the synthetic speech 0…4 steps before.
4. stream_members: these networks trained on the mouths of the clips, again 0…4 steps before.

Source: docs/method/signal_driver.md, Streams.
"""

from __future__ import annotations

import argparse
import copy
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fit_signal_driver import (
    FRAMES,
    SPEECH_WARPS,
    TRACKS,
    WARPS,
    Clips,
    augment_features,
    augment_power,
    groups,
    load_members,
    make_clips,
    make_speech,
    mismatch,
    save,
    speaker,
    table,
    take_step,
)
from streamed_voice import StreamedVoice
from synthetic_speech import CLASSES
from torch import nn

from liveportrait_talker.driving.signal import features
from liveportrait_talker.driving.signal.driver import HIGH_PERCENT, LOW_PERCENT
from liveportrait_talker.driving.signal.network import STRIDE
from liveportrait_talker.driving.signal.running import RunningFeatures, running_features
from liveportrait_talker.driving.signal.stream_network import CONTEXT, DELAYS, SILENT

CHANNELS, UNITS = 128, 64
VARIANTS = 4  # augmented versions of the synthetic speech
START_STEPS, STARTS = 1600, 2
MEMBER_STEPS, MEMBERS = 250, 2
DELAY_WEIGHTS = (0.5, 1.0, 0.5, 0.3, 0.3)  # most streams look 80 ms ahead: one step
GAIN_DB = 6.0  # standard deviation of the loudness of recordings, against the usual level
Usual = tuple[float, np.ndarray]


class Network(nn.Module):
    """Features (batch, bands, frames) → logits of phones and mouth for each delay (batch, frames / 4, DELAYS, …)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(features.MEL_BANDS, CHANNELS, CONTEXT, stride=STRIDE)
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.gru = nn.GRU(CHANNELS, UNITS, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.phones = nn.Linear(UNITS, DELAYS * CLASSES)
        self.mouth = nn.Linear(UNITS, DELAYS * len(TRACKS))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the phones and the mouth; step k has seen the feature frames up to 4 k + 2."""
        x = F.pad(x, (CONTEXT - STRIDE + 1, 0), value=SILENT)[..., :-1]
        x = self.dropout(F.gelu(self.norm(self.conv(x)), approximate="tanh"))
        x = self.dropout(self.gru(x.transpose(1, 2))[0])
        return self.phones(x).unflatten(-1, (DELAYS, -1)), self.mouth(x).unflatten(-1, (DELAYS, -1))

    def export(self) -> dict[str, np.ndarray]:
        """Return the arrays of driving/signal/stream_network.py."""
        gain = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        weight = (self.conv.weight * gain[:, None, None]).permute(2, 1, 0).flatten(0, 1)
        head = [
            torch.cat([mouth.unflatten(0, (DELAYS, -1)), phones.unflatten(0, (DELAYS, -1))], 1).flatten(0, 1)
            for mouth, phones in (
                (self.mouth.weight, self.phones.weight),
                (self.mouth.bias, self.phones.bias),
            )
        ]
        out = {
            "conv_w": weight,
            "conv_b": (self.conv.bias - self.norm.running_mean) * gain + self.norm.bias,
            "gru_in_w": self.gru.weight_ih_l0.T,
            "gru_in_b": self.gru.bias_ih_l0,
            "gru_w": self.gru.weight_hh_l0.T,
            "gru_b": self.gru.bias_hh_l0,
            "head_w": head[0].T,
            "head_b": head[1],
        }
        return {name: tensor.detach().numpy() for name, tensor in out.items()}


def at_delays(track: torch.Tensor) -> torch.Tensor:
    """Return `track` (batch, steps, …) as seen from each delay (batch, steps, DELAYS, …), the first value held."""
    steps = torch.arange(track.shape[1])[:, None] - torch.arange(DELAYS)
    return track[:, steps.clamp(min=0)]


def normalise(power: np.ndarray, usual: Usual, rng: np.random.Generator | None = None) -> np.ndarray:
    """Return the features of mel power as a stream gets them, at a random gain."""
    gain = 10 ** (rng.normal(0, GAIN_DB) / 10) if rng else 1.0
    return running_features(np.asarray(gain * power, np.float32), RunningFeatures(*usual))[0]


def usual_voice(work: Path) -> Usual:
    """Return the median level of the clips in dB and the median of their mean spectra relative to it."""
    levels, spectra = [], []
    with np.load(work / "clips.npz") as stored:
        for name in sorted(key for key in stored if key.startswith("power")):
            power = stored[name][:, WARPS.index(1.0)]
            loudness = features.band_loudness_db(power)
            levels.append(features.voice_level_db(loudness))
            floor = 10 ** ((levels[-1] - features.FLOOR_DB) / 10) / features.MEL_BANDS
            spectra.append(
                (10 * np.log10(power + floor))[loudness > levels[-1] - features.ACTIVE_DB].mean(0) - levels[-1]
            )
    return float(np.median(levels)), np.median(spectra, axis=0)


# ---------------------------------------------------------------- starts
def make_stream_speech(work: Path, usual: Usual) -> None:
    """Write the features (VARIANTS, frames, bands) of the synthetic speech in a stream, augmented."""
    rng = np.random.default_rng(0)
    mel = np.load(work / "speech_mel.npy", mmap_mode="r")
    out = np.empty((VARIANTS, len(mel), features.MEL_BANDS), np.float16)
    start = 0
    for end in np.load(work / "speech_ends.npy"):
        for variant in out:
            power = np.exp(mel[start:end, rng.integers(len(SPEECH_WARPS))].astype(np.float32))
            variant[start:end] = normalise(augment_power(power, rng), usual, rng)
        start = end
    np.save(work / "stream_speech.npy", out)


def make_start(work: Path, seed: int) -> None:
    """Train a network to classify phones; write stream_start_{seed}.pt."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sounds = np.load(work / "stream_speech.npy", mmap_mode="r")
    classes, ends = np.load(work / "speech_classes.npy"), np.load(work / "speech_ends.npy")
    blur = np.array([1, 2, 3, 3, 3, 2, 1]) / 15  # a video frame covers 70 ms of phones

    def windows() -> list[tuple[np.ndarray, np.ndarray]]:
        """Return two windows of one utterance."""
        index = rng.integers(len(ends))
        span = slice(ends[index - 1] if index else 0, ends[index])
        sound = sounds[rng.integers(VARIANTS), span].astype(np.float32)
        phones = np.eye(CLASSES)[classes[span]]
        phones = np.stack([np.convolve(column, blur, "same") for column in phones.T], axis=1)[::STRIDE]
        found = []
        for start in (
            (0, max(0, len(phones) - FRAMES))
            if rng.random() < 0.5
            else rng.integers(0, max(1, len(phones) - FRAMES), 2)
        ):
            x = sound[STRIDE * start : STRIDE * (start + FRAMES)]
            y = phones[start : start + FRAMES]
            x = np.pad(x, ((0, STRIDE * FRAMES - len(x)), (0, 0)), mode="edge")
            y = np.pad(y, ((0, FRAMES - len(y)), (0, 0)), mode="edge")
            found.append((augment_features(x, rng), y))
        return found

    network = Network(dropout=0.1)
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=START_STEPS, pct_start=0.1)
    weights = torch.tensor(DELAY_WEIGHTS) / sum(DELAY_WEIGHTS)
    for step in range(START_STEPS):
        parts = zip(*(one for _ in range(12) for one in windows()), strict=True)
        x, y = (torch.tensor(np.stack(part), dtype=torch.float32) for part in parts)
        logits, truth = network(x.transpose(1, 2))[0], at_delays(y)
        loss = -(truth * F.log_softmax(logits, -1)).sum(-1).mean((0, 1)) @ weights
        take_step(network, optimiser, schedule, loss)
        if step % 100 == 99:
            right = (logits.argmax(-1) == truth.argmax(-1)).float().mean((0, 1))
            print(f"start {seed}, step {step + 1}: {loss.item():.3f}, right {right.numpy().round(3)}", flush=True)
    torch.save(network.state_dict(), work / f"stream_start_{seed}.pt")


# ---------------------------------------------------------------- the mouths
def fit_member(clips: Clips, names: list[str], start: Path, seed: int) -> Network:
    """Train a network on the mouths of the clips `names`, starting from the weights in `start`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network(dropout=0.3)
    learnt = torch.load(start)
    network.load_state_dict({key: value for key, value in learnt.items() if "mouth" not in key}, strict=False)
    teacher = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), 1.5e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.5e-3, total_steps=MEMBER_STEPS, pct_start=0.2)
    mean = {key: value.clone() for key, value in network.state_dict().items()}  # of the last ~50 steps' weights
    for step in range(MEMBER_STEPS):
        x, y, weight = clips.batch(names, 16, rng)
        with torch.no_grad():
            phones = teacher(x)[0].softmax(-1)
        logits, mouth = network(x)
        forgotten = F.cross_entropy(logits.flatten(0, 2), phones.flatten(0, 2))
        truth, weight = at_delays(y), at_delays(weight)
        loss = 0.2 * forgotten
        for delay, share in enumerate(DELAY_WEIGHTS):
            loss = loss + share / sum(DELAY_WEIGHTS) * mismatch(
                mouth[:, :, delay], truth[:, :, delay], weight[:, :, delay]
            )
        take_step(network, optimiser, schedule, loss)
        keep = min(0.98, step / (step + 10))
        for key, value in network.state_dict().items():
            mean[key] = keep * mean[key] + (1 - keep) * value if value.is_floating_point() else value
    network.load_state_dict(mean)
    return network.eval()


def calibration(members: list[Network], clips: Clips, names: list[str]) -> dict[str, np.ndarray]:
    """Return the percentiles of the aperture output in speech, and mean and gain of the other outputs, by delay."""
    usual, gains, means = [], [], []
    for name in names:
        mouth, x = clips.mouth[name], clips.plain[name]
        with torch.no_grad():
            batch = torch.tensor(x.T[None])
            outputs = torch.stack([member(batch)[1] for member in members]).mean(0)[0].numpy()
        talking = x[::STRIDE].mean(axis=1) > -0.5
        rows = []
        for delay in range(DELAYS):
            output = outputs[delay:, delay]
            count = min(len(output), len(mouth))
            output, voiced, truth = output[:count], talking[:count], mouth[:count]
            gain = np.nanstd(truth, axis=0) / output.std(axis=0)
            percentiles = np.percentile(output[voiced, 0], (LOW_PERCENT, HIGH_PERCENT))
            rows.append((percentiles, gain, np.nanmean(truth[voiced], axis=0) - gain * output[voiced].mean(axis=0)))
        for values, row in zip((usual, gains, means), zip(*rows, strict=True), strict=True):
            values.append(np.stack(row))
    usual, gains, means = (np.median(values, axis=0).astype(np.float32) for values in (usual, gains, means))
    return {"usual_aperture": usual, "shape_gain": gains[:, 1:], "shape_mean": means[:, 1:]}


def member_path(work: Path, left_out: list[str], seed: int) -> Path:
    """Return where the member is kept that was fitted without the speakers `left_out`."""
    return work / f"stream_member_{seed}_without_{'+'.join(left_out) or 'none'}.pt"


def stream_clips(work: Path, usual: Usual) -> Clips:
    """Return the clips with the features of a stream."""
    return Clips(work / "clips.npz", partial(normalise, usual=usual, rng=np.random.default_rng(1)))


def make_members(work: Path, usual: Usual, left_out: list[list[str]], seed: int) -> None:
    """Fit and keep the missing members of one seed, each without one of the groups `left_out`."""
    torch.set_num_threads(1)
    clips = None
    for group in left_out:
        path = member_path(work, group, seed)
        if path.exists():
            continue
        clips = clips or stream_clips(work, usual)
        names = [name for name in clips.names if speaker(name) not in group]
        member = fit_member(clips, names, work / f"stream_start_{seed % STARTS}.pt", seed)
        torch.save(member.state_dict(), path)
        print(f"member {seed} without {', '.join(group) or 'nobody'}", flush=True)


def write(work: Path, usual: Usual, paths: list[Path], left_out: list[str], note: str) -> None:
    """Write the members without the speakers `left_out` to `paths`."""
    clips = Clips(work / "clips.npz", partial(normalise, usual=usual), variants=0)
    names = [name for name in clips.names if speaker(name) not in left_out]
    members = load_members(Network, [member_path(work, left_out, seed) for seed in range(MEMBERS)])
    level, spectrum = usual
    measured = calibration(members, clips, names) | {
        "usual_level": np.float32(level),
        "usual_spectrum": spectrum.astype(np.float32),
    }
    save(paths, members, measured, names, note, made_by="scripts/fit_speech_stream.py")


def main() -> None:
    """Run the missing stages, then write the files."""
    parser = argparse.ArgumentParser(description="Fit the network of the voice driver for streams.")
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/talking, data/talking2 and tools")
    parser.add_argument("--work", type=Path, required=True, help="folder of the stages")
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--leave-one-out", action="store_true", help="write a file without each speaker, and the table")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    sys.path.insert(0, str(args.shared / "tools"))
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.work / "clips.npz").exists():
        make_clips(args.shared, args.work / "clips.npz")
    if not (args.work / "speech_mel.npy").exists():
        make_speech(args.work)
    usual = usual_voice(args.work)
    if not (args.work / "stream_speech.npy").exists():
        make_stream_speech(args.work, usual)
    left_out: list[list[str]] = groups(args.shared) if args.leave_one_out else [[]]
    with ProcessPoolExecutor(args.jobs) as pool:
        starts = [seed for seed in range(STARTS) if not (args.work / f"stream_start_{seed}.pt").exists()]
        for job in [pool.submit(make_start, args.work, seed) for seed in starts]:
            job.result()
        for job in [pool.submit(make_members, args.work, usual, left_out, seed) for seed in range(MEMBERS)]:
            job.result()
    score = args.work / "stream_score.txt"
    if args.leave_one_out:
        for group in left_out:
            note = "speakers left out: " + ", ".join(group)
            write(args.work, usual, [args.out / f"without_{name}.npz" for name in group], group, note)
        score.write_text(table(args.shared, args.out, StreamedVoice))
    else:
        note = score.read_text() if score.exists() else "not measured"
        write(args.work, usual, [args.out / "speech_stream.npz"], [], note)


if __name__ == "__main__":
    main()
