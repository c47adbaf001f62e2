"""Measure how many P, B and M of the talking clips close the lips, in the true tracks and by the signal driver.

    python scripts/measure_closures.py --shared ../shared --weights DIR

DIR holds without_SPEAKER.npz of `fit_signal_driver.py --leave-one-out`, with --streamed of `fit_speech_stream.py`;
without --weights the shipped ones are measured. A sound counts as closed if the aperture is under 0.03 IOD in a frame
that is at most one frame (40 ms) outside the sound. Times of the sounds: PocketSphinx aligns the words in clip_transcripts.json, which were written down by ear and by an automatic recogniser; sounds longer than
0.3 s are errors of the alignment and are left out. Needs the packages `pocketsphinx` and those of `--shared`/tools.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from pocketsphinx import Decoder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from fit_signal_driver import speaker, videos
from streamed_voice import StreamedVoice

from liveportrait_talker.driving.signal.closures import PhoneRecogniser
from liveportrait_talker.driving.signal.driver import WEIGHTS, SignalDriver
from liveportrait_talker.media.waveform import Waveform

RATE = 16_000
CLOSED_IOD, LONGEST_FRAMES = 0.03, 30
UNKNOWN_WORDS = {
    "covid": "K OW V IH D",
    "diwali": "D IH V AA L IY",
    "diya": "D IY AH",
    "disneyland": "D IH Z N IY L AE N D",
    "gaotie": "G AW T IY EH",
    "hairstyles": "HH EH R S T AY L Z",
    "mumbai": "M UH M B AY",
}
Span = tuple[float, float]


def aligned(samples: np.ndarray, words: str) -> list[Span]:
    """Return start and end in seconds of the P, B and M of `words` in `samples`; empty if they cannot be aligned."""
    for padding in (0, RATE // 10, RATE * 3 // 10):  # the aligner fails at some lengths of silence
        for beams in ({}, {"beam": 1e-100, "wbeam": 1e-80, "pbeam": 1e-100}):
            noise = np.random.default_rng(padding).normal(0, 3e-4, len(samples) + 2 * padding)
            sound = np.pad(samples / np.abs(samples).max() * 0.8, padding) + noise
            raw = (sound * 32767).astype(np.int16).tobytes()
            decoder = Decoder(loglevel="FATAL", **beams)
            for word, phones in UNKNOWN_WORDS.items():
                if decoder.lookup_word(word) is None:
                    decoder.add_word(word, phones, True)
            try:
                decoder.set_align_text(words)
                _run(decoder, raw)
                decoder.set_alignment()
                _run(decoder, raw)
            except RuntimeError:
                continue
            phones = [phone for word in decoder.get_alignment() for phone in word]
            before = padding / RATE
            return [
                (phone.start / 100 - before, (phone.start + phone.duration) / 100 - before)
                for phone in phones
                if phone.name in ("P", "B", "M") and phone.duration <= LONGEST_FRAMES
            ]
    return []


def _run(decoder: Decoder, raw: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(raw, full_utt=True)
    decoder.end_utt()


def closed(aperture: np.ndarray, spans: list[Span]) -> list[bool]:
    """Return which of `spans` have a closed frame; those without a measured frame are left out."""
    found = []
    for start, end in spans:
        first, last = max(int(np.ceil(start * 25 - 1.0)), 0), int(end * 25 + 1.0)
        values = aperture[first : last + 1]
        values = values[np.isfinite(values)]
        if len(values):
            found.append(bool(values.min() < CLOSED_IOD))
    return found


def main() -> None:
    """Print one line a clip and the shares of all sounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--streamed", action="store_true", help="the driver for streams, which needs --weights")
    kinds.add_argument("--hama", action="store_true", help="P, B and M by the package hama")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.shared / "tools"))
    import face_tracks

    transcripts = json.loads(Path(__file__).with_name("clip_transcripts.json").read_text())
    recogniser = PhoneRecogniser() if arguments.hama else None
    true, driven = [], []
    for video in videos(arguments.shared):
        samples = face_tracks.read_audio(video).astype(np.float32)
        spans = aligned(samples, transcripts[video.stem]) if video.stem in transcripts else []
        with np.load(video.parent / "tracks" / f"{video.stem}.npz") as track:
            real = closed(track["aperture"].astype(float), spans)
        weights = arguments.weights / f"without_{speaker(video.stem)}.npz" if arguments.weights else WEIGHTS
        driver = StreamedVoice(weights) if arguments.streamed else SignalDriver(weights, recogniser)
        mine = closed(driver.mouth(Waveform(samples, RATE), 25.0)[:, 0], spans)
        print(f"{video.stem:16s} {len(spans):3d} sounds, closed: real {sum(real)}, driver {sum(mine)}", flush=True)
        true += real
        driven += mine
    print(f"{len(driven)} sounds, closed: real {np.mean(true):.3f}, driver {np.mean(driven):.3f}")


if __name__ == "__main__":
    main()
