"""Fit the network of the signal driver (`driving/signal/signal_driver.npz`) and test it with each speaker left out.

    python scripts/fit_signal_driver.py --shared ../shared --work ../fit --out ../loso --leave-one-out
    python scripts/fit_signal_driver.py --shared ../shared --work ../fit --out src/liveportrait_talker/driving/signal

The first run also writes the score that the second run, which makes the shipped file, stores in it. Speakers are left
out in FOLDS groups: each file of the first run is made without the clips of one group, and tested on that group only.
Needs the extra `fit`, SciPy and the requirements of `synthetic_speech`; stage 1 and the table also MediaPipe. About 25
minutes of processor time. Stages, each kept in --work:

1. clips: mel power and mouth of the 26 talking clips (talking, talking2). Aperture and width come from the tracks,
   press and corner height from landmarks (docs/method/conventions.md, Mouth controls).
2. speech: three hours of synthetic speech with phone times.
3. starts: networks trained to classify 16 lip classes of phones in that speech. r of one network with the speaker left
   out: 0.60 without this (64 channels, mean of 5 runs), 0.62 with it (3 runs), 0.64 with it and 128 channels (2).
4. members: these networks trained on the mouths of the clips, by correlation, because ranges differ between speakers.

Source: docs/method/signal_driver.md, Fitting.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.signal import lfilter
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from synthetic_speech import ARPABET, CLASSES, corpus

from liveportrait_talker.driving.signal import features
from liveportrait_talker.driving.signal.driver import HIGH_PERCENT, LOW_PERCENT, SignalDriver
from liveportrait_talker.driving.signal.network import STRIDE
from liveportrait_talker.media.waveform import Waveform

TRACKS = ("aperture", "width", "press", "corner_up")
TRACK_WEIGHTS = torch.tensor([1.0, 0.4, 0.3, 0.2])
WARPS = (0.80, 0.85, 0.90, 0.95, 1.0, 1.05, 1.11, 1.18, 1.25)  # vocal tract lengths from men to children
SPEECH_WARPS = (0.85, 0.95, 1.0, 1.05, 1.18)
SAME_SPEAKER = {"andrew_1": "andrew", "andrew_2": "andrew", "obama_1": "obama", "obama_2": "obama"}
CHANNELS = 128
UTTERANCES, START_STEPS, STARTS = 1500, 2600, 2
MEMBER_STEPS, MEMBERS = 250, 4
DATASETS = ("talking", "talking2")  # folders of clips under --shared/data
FOLDS = 6  # groups of speakers that are left out together
FRAMES = 80  # length of a training window: 3.2 s of video frames
SILENT_FRAME = -3.0  # about what digital silence is after normalisation


# ---------------------------------------------------------------- network (as in driving/signal/network.py)
class Network(nn.Module):
    """Features (batch, bands, frames) → input of the heads `phones` and `mouth`; export folds batch norm."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(features.MEL_BANDS, CHANNELS, 5, stride=2, padding=2)
        self.conv2 = nn.Conv1d(CHANNELS, CHANNELS, 5, stride=2, padding=2)
        self.norm1, self.norm2 = nn.BatchNorm1d(CHANNELS), nn.BatchNorm1d(CHANNELS)
        self.gru = nn.GRU(CHANNELS, CHANNELS // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.phones = nn.Linear(CHANNELS, CLASSES)
        self.mouth = nn.Linear(CHANNELS, len(TRACKS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input of both heads (batch, frames / 4, CHANNELS)."""
        x = self.dropout(F.gelu(self.norm1(self.conv1(x)), approximate="tanh"))
        x = F.gelu(self.norm2(self.conv2(x)), approximate="tanh")
        return self.dropout(self.gru(self.dropout(x.transpose(1, 2)))[0])

    def export(self) -> dict[str, np.ndarray]:
        """Return the arrays of driving/signal/network.py."""

        def fold(conv: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[np.ndarray, np.ndarray]:
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = (conv.weight * gain[:, None, None]).permute(2, 1, 0)
            return weight.detach().numpy(), ((conv.bias - norm.running_mean) * gain + norm.bias).detach().numpy()

        def both_ways(name: str) -> np.ndarray:
            ways = [getattr(self.gru, name + way).detach().numpy().T for way in ("_l0", "_l0_reverse")]
            return np.stack(ways)

        out = dict(zip(("conv1_w", "conv1_b"), fold(self.conv1, self.norm1), strict=True))
        out |= zip(("conv2_w", "conv2_b"), fold(self.conv2, self.norm2), strict=True)
        out |= {"gru_in_w": both_ways("weight_ih"), "gru_in_b": both_ways("bias_ih")}
        out |= {"gru_w": both_ways("weight_hh"), "gru_b": both_ways("bias_hh")}
        weight = torch.cat([self.mouth.weight, self.phones.weight]).detach().numpy()
        bias = torch.cat([self.mouth.bias, self.phones.bias]).detach().numpy()
        return out | {"head_w": weight.T.reshape(2, CHANNELS // 2, len(bias)), "head_b": bias}


# ---------------------------------------------------------------- sound and its augmentation
def warped_mel_power(samples: np.ndarray, warps: tuple[float, ...]) -> np.ndarray:
    """Return the power (frames, warps, bands) for each vocal tract length."""
    bank = np.concatenate([features.mel_filters(warp) for warp in warps], axis=1)
    return features.mel_power(samples, bank).reshape(-1, len(warps), features.MEL_BANDS)


def augment_power(power: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add random reverberation and noise to mel power (frames, bands)."""
    if rng.random() < 0.4:
        seconds = rng.uniform(0.15, 0.7)  # to decay by 60 dB
        keep = 10 ** (-6 / (seconds * features.FRAMES_PER_SECOND))
        tail = lfilter([1 - keep], [1, -keep], power, axis=0)
        power = power + rng.uniform(0.05, 0.4) * tail
    if rng.random() < 0.75:
        level = 10 ** (features.voice_level_db(features.band_loudness_db(power)) / 10)
        colour = np.exp(rng.uniform(-2, 2) * np.linspace(-1, 1, features.MEL_BANDS))
        noise = level * 10 ** (-rng.uniform(12, 45) / 10) * colour / colour.sum()
        power = power + noise * rng.gamma(8, 1 / 8, power.shape)
    return power


def augment_features(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mask random bands and frames of features (frames, bands); add a random spectral shape and noise."""
    x = x.copy()
    for _ in range(2):
        band = rng.integers(features.MEL_BANDS)
        x[:, band : band + rng.integers(7)] = 0
    start = rng.integers(len(x))
    x[start : start + rng.integers(24)] = x.mean()
    shape = np.interp(np.arange(features.MEL_BANDS), np.linspace(0, features.MEL_BANDS - 1, 6), rng.normal(0, 0.12, 6))
    return x + shape + rng.normal(0, 0.05) + rng.normal(0, 0.05, x.shape)


# ---------------------------------------------------------------- stage 1: the clips
def videos(shared: Path) -> list[Path]:
    """Return the talking clips, one data set after the other."""
    return [video for name in DATASETS for video in sorted((shared / "data" / name).glob("*.mp4"))]


def speaker(clip: str) -> str:
    """Return the speaker of `clip`."""
    return SAME_SPEAKER.get(clip, clip)


def groups(shared: Path) -> list[list[str]]:
    """Return the speakers in FOLDS groups."""
    names = sorted({speaker(video.stem) for video in videos(shared)})
    return [names[k::FOLDS] for k in range(FOLDS)]


def make_clips(shared: Path, path: Path) -> None:
    """Write mel power of all warps and the four target tracks of each clip."""
    import face_tracks  # from --shared: only this stage needs MediaPipe

    out = {}
    for video in videos(shared):
        with np.load(video.parent / "tracks" / f"{video.stem}.npz") as truth:
            found = {key: truth[key].astype(float) for key in ("aperture", "width", "yaw", "pitch")}
        measured = np.array([lip_heights(lm, face_tracks) for lm in face_tracks.extract(video, landmarks=True)["lm"]])
        frames = min(len(measured), len(found["aperture"]))
        aperture, width, yaw, pitch = (track[:frames] for track in found.values())
        closed = aperture <= np.nanpercentile(aperture, 30)
        explained = np.stack([aperture, width, yaw, pitch, np.ones(frames)], axis=1)
        tracks = [aperture, width - np.nanmedian(width[closed])]
        for track in (-measured[:frames, 0], measured[:frames, 1]):
            ok = np.isfinite(track) & np.isfinite(explained).all(axis=1)
            rest = track - explained @ np.linalg.lstsq(explained[ok], track[ok], rcond=None)[0]
            tracks.append(rest - np.nanmedian(rest[closed]))
        out[f"mouth {video.stem}"] = np.stack(tracks, axis=1).astype(np.float32)
        out[f"power {video.stem}"] = warped_mel_power(face_tracks.read_audio(video), WARPS)
    np.savez(path, **out)


def lip_heights(landmarks: np.ndarray, face_tracks: object) -> tuple[float, float]:
    """Return the visible height of both lips and the height of the corners above the nose base, in IOD."""
    points = landmarks.astype(float) * (1, -1, -1)
    if not np.isfinite(points).all():
        return np.nan, np.nan
    up = face_tracks.similarity(face_tracks.CANON, points[face_tracks.STABLE])[1][:, 1]
    iod = np.linalg.norm(points[33] - points[263])
    lips = (points[0] - points[13] + points[14] - points[17]) @ up / iod
    return lips, ((points[61] + points[291]) / 2 - points[2]) @ up / iod


class Clips:
    """The clips, with `variants` versions of the sound of each at each of WARPS, all but the first augmented.

    `normalise` makes features (frames, bands) of mel power.
    """

    def __init__(
        self,
        path: Path,
        normalise: Callable[[np.ndarray], np.ndarray] = features.normalised_log_mel,
        variants: int = 4,
    ) -> None:
        rng = np.random.default_rng(0)
        with np.load(path) as stored:
            self.names = sorted(key.split()[1] for key in stored if key.startswith("mouth"))
            self.mouth = {name: stored[f"mouth {name}"] for name in self.names}
            power = {name: stored[f"power {name}"] for name in self.names}
        self.plain, self.sounds, self.scaled = {}, {}, {}
        for name, mouth in self.mouth.items():
            short = STRIDE * len(mouth) + 1 - len(power[name])
            warped = np.pad(power[name], ((0, max(short, 0)), (0, 0), (0, 0)), mode="edge")
            self.sounds[name] = [
                normalise(augment_power(warped[:, w], rng) if again else warped[:, w])
                for w in range(len(WARPS))
                for again in range(variants)
            ]
            self.plain[name] = normalise(power[name][:, WARPS.index(1.0)])
            scaled = (mouth - np.nanmean(mouth, axis=0)) / np.nanstd(mouth, axis=0)
            self.scaled[name] = np.nan_to_num(scaled)

    def window(self, name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return features (4 FRAMES, bands), mouth (FRAMES, tracks) and weight (FRAMES,) at a random time and tempo."""
        sound = self.sounds[name][rng.integers(len(self.sounds[name]))]
        mouth = self.scaled[name]
        tempo = np.exp(rng.uniform(-0.18, 0.18))
        start = rng.uniform(-0.1 * FRAMES, max(0.0, len(mouth) - FRAMES * tempo + 0.1 * FRAMES))
        x, inside = _sample(sound, STRIDE * start + np.arange(STRIDE * FRAMES) * tempo)
        y, weight = _sample(mouth, start + np.arange(FRAMES) * tempo)
        x[~inside] = SILENT_FRAME
        return augment_features(x, rng), y, weight.astype(float)

    def batch(self, names: list[str], size: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Return `size` windows of the clips `names`, stacked; features as (size, bands, frames)."""
        lengths = np.sqrt([len(self.mouth[name]) for name in names])  # between equal weights of clips and of seconds
        chosen = rng.choice(len(names), size, p=lengths / lengths.sum())
        x, y, weight = (np.stack(part) for part in zip(*(self.window(names[k], rng) for k in chosen), strict=True))
        return torch.tensor(x, dtype=torch.float32).transpose(1, 2), torch.tensor(y), torch.tensor(weight)


def _sample(track: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of `track` at fractional `times`, and which of these lie inside it."""
    inside = np.clip(times, 0, len(track) - 1.001)
    low = inside.astype(int)
    part = (inside - low)[:, None].astype(np.float32)
    return track[low] * (1 - part) + track[low + 1] * part, (times >= 0) & (times <= len(track) - 1)


# ---------------------------------------------------------------- stages 2 and 3: synthetic speech, starts
def make_speech(folder: Path) -> None:
    """Write the log mel power (frames, warps, bands) and classes of all utterances, concatenated, and their ends."""
    mels, classes = [], []
    for samples, spoken in corpus(UTTERANCES):
        mels.append(np.log(warped_mel_power(samples, SPEECH_WARPS) + 1e-12).astype(np.float16))
        classes.append(spoken[: len(mels[-1])])
    np.save(folder / "speech_classes.npy", np.concatenate(classes))
    np.save(folder / "speech_ends.npy", np.cumsum([len(mel) for mel in mels]))
    np.save(folder / "speech_mel.npy", np.concatenate(mels))


def make_start(folder: Path, seed: int) -> None:
    """Train a network to classify phones; write start_{seed}.pt."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    mel = np.load(folder / "speech_mel.npy", mmap_mode="r")
    classes, ends = np.load(folder / "speech_classes.npy"), np.load(folder / "speech_ends.npy")
    blur = np.array([1, 2, 3, 3, 3, 2, 1]) / 15  # a video frame covers 70 ms of phones

    def window() -> tuple[np.ndarray, np.ndarray]:
        index = rng.integers(len(ends))
        span = slice(ends[index - 1] if index else 0, ends[index])
        power = np.exp(mel[span, rng.integers(len(SPEECH_WARPS))].astype(np.float32))
        sound = features.normalised_log_mel(augment_power(power, rng))
        phones = np.eye(CLASSES)[classes[span]]
        phones = np.stack([np.convolve(column, blur, "same") for column in phones.T], axis=1)[::STRIDE]
        start = rng.integers(max(1, len(phones) - FRAMES))
        x = sound[STRIDE * start : STRIDE * (start + FRAMES)]
        y = phones[start : start + FRAMES]
        x = np.pad(x, ((0, STRIDE * FRAMES - len(x)), (0, 0)), mode="edge")
        y = np.pad(y, ((0, FRAMES - len(y)), (0, 0)), mode="edge")
        return augment_features(x, rng), y

    network = Network(dropout=0.15)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=START_STEPS, pct_start=0.1)
    for step in range(START_STEPS):
        parts = zip(*(window() for _ in range(24)), strict=True)
        x, y = (torch.tensor(np.stack(part), dtype=torch.float32) for part in parts)
        logits = network.phones(network(x.transpose(1, 2)))
        loss = -(y * F.log_softmax(logits, -1)).sum(-1).mean()
        take_step(network, optimiser, schedule, loss)
        if step % 100 == 99:
            right = (logits.argmax(-1) == y.argmax(-1)).float().mean()
            print(f"start {seed}, step {step + 1}: {loss.item():.3f}, {right:.3f} right", flush=True)
    learnt = {key: value for key, value in network.state_dict().items() if not key.startswith("mouth")}
    torch.save(learnt, folder / f"start_{seed}.pt")


def take_step(network: nn.Module, optimiser: torch.optim.Optimizer, schedule: object, loss: torch.Tensor) -> None:
    """Change the weights against the gradient of a loss."""
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    schedule.step()


# ---------------------------------------------------------------- stage 4: the mouths
def mismatch(output: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return one minus the correlation in each window, plus half the squared error, which fixes offset and scale."""
    weight = weight[..., None].float()
    count = weight.sum(1, keepdim=True) + 1e-6
    error = ((output - truth) ** 2 * weight).sum(1) / count[:, 0]
    a, b = ((track - (track * weight).sum(1, keepdim=True) / count) * weight for track in (output, truth))
    r = (a * b).sum(1) / torch.sqrt((a**2).sum(1) * (b**2).sum(1) + 1e-5 * count[:, 0] ** 2)
    return ((0.5 * error + 1 - r) * TRACK_WEIGHTS).mean(0).sum()


def fit_member(clips: Clips, names: list[str], start: Path, seed: int) -> Network:
    """Train a network on the mouths of the clips `names`, starting from the weights in `start`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network(dropout=0.3)
    network.load_state_dict(torch.load(start), strict=False)  # all but `mouth`
    teacher = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=MEMBER_STEPS, pct_start=0.2)
    mean = {key: value.clone() for key, value in network.state_dict().items()}  # of the last ~50 steps' weights
    for step in range(MEMBER_STEPS):
        x, y, weight = clips.batch(names, 16, rng)
        with torch.no_grad():
            phones = teacher.phones(teacher(x)).softmax(-1)
        hidden = network(x)
        forgotten = F.cross_entropy(network.phones(hidden).flatten(0, 1), phones.flatten(0, 1))
        loss = mismatch(network.mouth(hidden), y, weight) + 0.2 * forgotten  # P, B and M are too rare in the clips
        take_step(network, optimiser, schedule, loss)
        keep = min(0.98, step / (step + 10))
        for key, value in network.state_dict().items():
            mean[key] = keep * mean[key] + (1 - keep) * value if value.is_floating_point() else value
    network.load_state_dict(mean)
    return network.eval()


def calibration(members: list[Network], clips: Clips, names: list[str]) -> dict[str, np.ndarray]:
    """Return the percentiles of the aperture output in speech, and mean and gain of the other outputs."""
    usual, gains, means = [], [], []
    for name in names:
        x = clips.plain[name]
        with torch.no_grad():
            batch = torch.tensor(x.T[None])
            output = torch.stack([member.mouth(member(batch)) for member in members]).mean(0)[0].numpy()
        mouth = clips.mouth[name]
        output = output[: len(mouth)]
        talking = x[::STRIDE][: len(output)].mean(axis=1) > -0.5
        gain = np.nanstd(mouth, axis=0) / output.std(
            axis=0
        )  # on a new voice the range of the outputs is a quarter smaller
        usual.append(np.percentile(output[talking, 0], (LOW_PERCENT, HIGH_PERCENT)))
        gains.append(gain)
        means.append(np.nanmean(mouth[: len(output)][talking], axis=0) - gain * output[talking].mean(axis=0))
    usual, gains, means = (np.median(values, axis=0).astype(np.float32) for values in (usual, gains, means))
    return {"usual_aperture": usual, "shape_gain": gains[1:], "shape_mean": means[1:]}


def member_path(work: Path, left_out: list[str], seed: int) -> Path:
    """Return where the member is kept that was fitted without the speakers `left_out`."""
    return work / f"member_{seed}_without_{'+'.join(left_out) or 'none'}.pt"


def make_member(work: Path, left_out: list[str], seed: int) -> None:
    """Fit a member without the clips of the speakers `left_out` and keep it."""
    torch.set_num_threads(1)
    clips = Clips(work / "clips.npz")
    names = [name for name in clips.names if speaker(name) not in left_out]
    member = fit_member(clips, names, work / f"start_{seed % STARTS}.pt", seed)
    torch.save(member.state_dict(), member_path(work, left_out, seed))
    print(f"member {seed} without {', '.join(left_out) or 'nobody'}", flush=True)


def quantised(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the matrices as int8 with a step for each column, the biases as float16."""
    out = {}
    for name, array in arrays.items():
        if name.endswith("_w"):
            step = (np.abs(array).max(axis=-2, keepdims=True) / 127 + 1e-6).astype(np.float16)
            out |= {name: np.rint(array / step).astype(np.int8), f"{name}_step": step}
        else:
            out[name] = array.astype(np.float16)
    return out


def load_members(kind: type[nn.Module], paths: list[Path]) -> list:
    """Return the networks of a kind whose weights are in `paths`."""
    members = []
    for path in paths:
        members.append(kind(dropout=0.0).eval())
        members[-1].load_state_dict(torch.load(path))
    return members


def save(paths: list[Path], members: list, measured: dict, names: list[str], note: str, *, made_by: str) -> None:
    """Write the members, what was `measured` of them and a statement of what they were fitted on to `paths`."""
    about = {
        "made_by": made_by,
        "date": datetime.date.today().isoformat(),
        "trained_on": {"synthetic speech": f"{UTTERANCES} utterances, flite and espeak-ng", "talking clips": names},
        "features": f"{features.MEL_BANDS} log-mel bands at {features.FRAMES_PER_SECOND} Hz, {features.SAMPLE_RATE} Hz",
        "outputs": [*TRACKS, *(f"phones {phones}" for phones in ARPABET)],
        "score": note,
    }
    parts = [member.export() for member in members]
    arrays = {key: np.stack([part[key] for part in parts]) for key in parts[0]}
    for path in paths:
        np.savez_compressed(path, about=np.array(json.dumps(about)), **measured, **quantised(arrays))
        print(f"wrote {path}", flush=True)


def write(work: Path, paths: list[Path], left_out: list[str], note: str) -> None:
    """Write the members without the speakers `left_out` to `paths`."""
    clips = Clips(work / "clips.npz")
    names = [name for name in clips.names if speaker(name) not in left_out]
    members = load_members(Network, [member_path(work, left_out, seed) for seed in range(MEMBERS)])
    measured = calibration(members, clips, names)
    save(paths, members, measured, names, note, made_by="scripts/fit_signal_driver.py")


# ---------------------------------------------------------------- the test
def table(shared: Path, out: Path, driver: type) -> str:
    """Score drivers of the class `driver`, each with the file made without the tested speaker; print a table, return its summary."""
    import face_tracks
    import sync_score as score

    print("| clip | r aperture, no shift | best r | lag ms | r width |\n|---|---|---|---|---|")
    summary = []
    for name in DATASETS:
        rows = []
        for video in sorted((shared / "data" / name).glob("*.mp4")):
            voice = Waveform(face_tracks.read_audio(video), features.SAMPLE_RATE)
            mouth = driver(out / f"without_{speaker(video.stem)}.npz").mouth(voice, 25.0)
            with np.load(video.parent / "tracks" / f"{video.stem}.npz") as truth:
                frames = min(len(mouth), len(truth["aperture"]))
                r0, best, lag = score.best_lag(mouth[:, 0], truth["aperture"])
                width = score.pearson(mouth[:frames, 1] - mouth[:frames, 2], truth["width"][:frames].astype(float))
            rows.append((r0, best, abs(lag), width))
            print(f"| {video.stem} | {r0:.3f} | {best:.3f} | {1000 * lag:+.0f} | {width:.3f} |")
        r0, best, _, width = np.mean(rows, axis=0)
        lag = 1000 * np.median([row[2] for row in rows])
        print(f"| mean of {name} (lag: median size) | {r0:.3f} | {best:.3f} | {lag:.0f} | {width:.3f} |")
        summary.append(f"{name}, {len(rows)} clips: r aperture {r0:.3f}, r width {width:.3f}, median lag {lag:.0f} ms")
    return "speaker left out: " + "; ".join(summary)


def main() -> None:
    """Run the missing stages, then write the files."""
    parser = argparse.ArgumentParser(description="Fit the signal driver's network.")
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/talking, data/talking2 and tools")
    parser.add_argument("--work", type=Path, required=True, help="folder of the stages")
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    parser.add_argument("--leave-one-out", action="store_true", help="write a file without each speaker, and the table")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    sys.path.insert(0, str(args.shared / "tools"))
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.work / "clips.npz").exists():
        make_clips(args.shared, args.work / "clips.npz")
    if not (args.work / "speech_mel.npy").exists():
        make_speech(args.work)
    left_out: list[list[str]] = groups(args.shared) if args.leave_one_out else [[]]
    with ProcessPoolExecutor(args.jobs) as pool:
        starts = [seed for seed in range(STARTS) if not (args.work / f"start_{seed}.pt").exists()]
        list(pool.map(make_start, [args.work] * len(starts), starts))
        wanted = [(group, seed) for seed in range(MEMBERS) for group in left_out]
        missing = [(args.work, *one) for one in wanted if not member_path(args.work, *one).exists()]
        for job in [pool.submit(make_member, *arguments) for arguments in missing]:
            job.result()
    score = args.work / "score.txt"
    if args.leave_one_out:
        for group in left_out:
            write(
                args.work,
                [args.out / f"without_{name}.npz" for name in group],
                group,
                "speakers left out: " + ", ".join(group),
            )
        score.write_text(table(args.shared, args.out, SignalDriver))
    else:
        note = score.read_text() if score.exists() else "not measured"
        write(args.work, [args.out / "signal_driver.npz"], [], note)


if __name__ == "__main__":
    main()
