"""The camera of the live page, which is a clip of a person who turns the head."""

from __future__ import annotations

import base64
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.tracked import TrackedFace
from shared import DATA, needs_shared

pytest.importorskip("aiortc", reason="aiortc is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from live_browser import OPTIONS, serving, start

EVERY_S, SECONDS = 0.08, 7
LAGS = np.arange(0, 1.2, 0.02)

# Pictures of the camera and of the portrait with their times, in seconds.
WATCH = """
async ([every, seconds]) => {
  const camera = document.createElement("video");
  camera.srcObject = new MediaStream([call.tracks.camera]);
  await camera.play();
  const seen = [[], []];
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  pen.canvas.width = pen.canvas.height = 256;
  const start = performance.now();
  for (let k = 0; k * every < seconds; k += 1) {
    [camera, document.getElementById("face")].forEach((video, index) => {
      pen.drawImage(video, 0, 0, 256, 256);
      seen[index].push([(performance.now() - start) / 1000, pen.canvas.toDataURL("image/jpeg", 0.9)]);
    });
    await new Promise((resolve) => setTimeout(resolve, 1000 * (k + 1) * every - (performance.now() - start)));
  }
  return seen;
}
"""


def yaws(pictures) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of the pictures with a face, and its yaw in degrees."""
    finder, face, found = FaceFinder(), None, []
    for time, url in pictures:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR_RGB)
        followed = None if face is None else finder.follow(image, face)
        face = next(iter(finder.find(image)), None) if followed is None else followed
        if face is not None:
            found.append((time, TrackedFace(face).rotation_deg[1]))
    times, angles = np.array(found).T
    return times, angles


@pytest.fixture
def camera(tmp_path):
    """Motion JPEG of a driving clip, which Chromium plays as the picture of a camera."""
    path = tmp_path / "camera.mjpeg"
    with av.open(str(DATA / "driving" / "head_turns.mp4")) as clip, path.open("wb") as file:
        for frame in clip.decode(video=0):
            _, jpeg = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"))
            file.write(jpeg.tobytes())
    return path


@needs_shared
def test_the_head_follows_the_camera(camera, launch_chromium):
    options = replace(OPTIONS, still=False)  # which a camera does not override
    with serving(options=options) as url, launch_chromium(f"--use-file-for-fake-video-capture={camera}") as browser:
        page = browser.new_page()
        page.goto(url)
        start(page)
        page.click("#camera")
        page.wait_for_selector("#camera[aria-pressed=true]")
        page.wait_for_timeout(2500)  # the first images define the rest
        seen = page.evaluate(WATCH, [EVERY_S, SECONDS])
    (camera_times, camera_yaw), (times, yaw) = map(yaws, seen)
    inside = times > LAGS[-1]
    agreement = [
        np.corrcoef(yaw[inside], np.interp(times[inside] - lag, camera_times, camera_yaw))[0, 1] for lag in LAGS
    ]
    best = int(np.argmax(agreement))
    print(f"camera to head: {1000 * LAGS[best]:.0f} ms; correlation of the yaw {agreement[best]:.2f}")
    assert np.ptp(yaw) > 5
    assert agreement[best] > 0.8, (agreement[best], LAGS[best])
