"""Measure the live page in Chromium: from a sound in the microphone to moving lips and to the face's sound.

    liveportrait-talker live examples/portrait.png --no-open --still --no-blink --no-breath --gaze still --max-size 512
    python scripts/measure_live_page.py http://127.0.0.1:8765/

The microphone is a file with a vowel every 1.6 s. Web Audio hears it up to one block (2.7 ms) later than the page sends it.
"""

import argparse
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

RATE, EVERY_S, VOWEL_S = 48_000, 1.6, 0.4
WATCH = """
async (seconds) => {
  const face = document.getElementById("face");
  const context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
  await context.resume();
  const listen = (stream) => {
    const analyser = context.createAnalyser();
    analyser.fftSize = 256;
    context.createMediaStreamSource(stream).connect(analyser);
    return analyser;
  };
  const ears = [listen(new MediaStream([call.tracks.microphone])), listen(face.srcObject)];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [48, 32];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const samples = new Float32Array(256);
  const sounds = [];
  const images = [];
  const start = performance.now();
  const look = (now, frame) => {
    const [w, h] = [face.videoWidth, face.videoHeight];
    pen.drawImage(face, 0.4 * w, 0.4 * h, 0.2 * w, 0.2 * h, 0, 0, 48, 32);
    const pixels = pen.getImageData(0, 0, 48, 32).data.filter((_, k) => k % 4 === 1);
    images.push([frame.expectedDisplayTime - start, ...pixels]);
    face.requestVideoFrameCallback(look);
  };
  face.requestVideoFrameCallback(look);
  while (performance.now() - start < 1000 * seconds) {
    const row = [performance.now() - start];
    for (const ear of ears) {
      ear.getFloatTimeDomainData(samples);
      row.push(Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / 256));
    }
    sounds.push(row);
    await new Promise((resolve) => setTimeout(resolve, 4));
  }
  return [sounds, images];
}
"""


def write_vowels(path: Path) -> None:
    """Write a period of silence and a vowel of 120 Hz."""
    t = np.arange(round(VOWEL_S * RATE)) / RATE
    vowel = sum(np.sin(2 * np.pi * 120 * k * t) * np.exp(-(((120 * k - 750) / 500) ** 2)) for k in range(1, 25))
    vowel *= np.minimum(1, np.minimum(t, VOWEL_S - t) / 0.01)
    samples = np.concatenate([np.zeros(round((EVERY_S - VOWEL_S) * RATE)), 0.5 * vowel / np.abs(vowel).max()])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(32767 * np.tile(samples, 4)).astype("<i2").tobytes())


def onsets(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the times at which values pass a third of their range after 0.4 s below it."""
    low, high = np.percentile(values, [20, 98])
    above = np.flatnonzero(values > low + (high - low) / 3)
    starts = above[np.diff(times[above], prepend=-1e9) > 400]
    return times[starts]


def delays(causes: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """Return the time from each cause to its effect, within 1.2 s."""
    found = [effects[(effects > cause - 100) & (effects < cause + 1200)][:1] - cause for cause in causes]
    return np.concatenate(found) if found else np.zeros(0)


def main() -> None:
    """Run the page and print the delays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        voice = Path(folder) / "voice.wav"
        write_vowels(voice)
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium") or "/usr/bin/chromium",
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={voice}",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        page = browser.new_page()
        page.goto(arguments.url)
        page.click("#start")
        page.wait_for_selector("#state[data-state=idle]")
        page.click("#microphone")
        page.wait_for_selector("#microphone[aria-pressed=true]")
        page.wait_for_timeout(5000)
        sounds, images = (np.array(rows, float) for rows in page.evaluate(WATCH, arguments.seconds))
        shown = page.inner_text("#delay")
        browser.close()
    pixels = images[:, 1:]
    opening = np.abs(pixels - np.median(pixels, axis=0)).mean(axis=1)
    heard = onsets(sounds[:, 0], sounds[:, 1])
    lips = delays(heard, onsets(images[:, 0], opening))
    sound = delays(heard, onsets(sounds[:, 0], sounds[:, 2]))
    for name, values in (("lips", lips), ("sound", sound)):
        if len(values):
            print(
                f"microphone to {name}: median {np.median(values):.0f} ms, p95 {np.percentile(values, 95):.0f} ms, n {len(values)}"
            )
    print(f"{len(images) / arguments.seconds:.1f} images/s; the page shows: {shown}")


if __name__ == "__main__":
    main()
