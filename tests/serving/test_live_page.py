"""`live PORTRAIT`: the page in a real browser, with a microphone that is a file and a camera that is a test pattern."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from liveportrait_talker.audio.speech import is_installed
from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from sounds import syllables, write_wav

pytest.importorskip("aiortc", reason="aiortc is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from live_browser import serving, start

# Counts how far the pixels between nose and chin, and the loudness of the face's sound, go in `seconds`.
MEASURE = """
async (seconds) => {
  const face = document.getElementById("face");
  const context = new AudioContext({ sampleRate: 48000 });
  await context.resume();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(face.srcObject).connect(analyser);
  const canvas = document.createElement("canvas");
  canvas.width = 64;
  canvas.height = 48;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const samples = new Float32Array(1024);
  const images = [];
  const loudness = [];
  const start = performance.now();
  while (performance.now() - start < 1000 * seconds) {
    const [w, h] = [face.videoWidth, face.videoHeight];
    pen.drawImage(face, 0.35 * w, 0.5 * h, 0.3 * w, 0.25 * h, 0, 0, 64, 48);
    images.push(Array.from(pen.getImageData(0, 0, 64, 48).data).filter((_, k) => k % 4 === 1));
    analyser.getFloatTimeDomainData(samples);
    loudness.push(Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / 1024));
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  await context.close();
  return [images, loudness];
}
"""


@pytest.fixture(scope="module")
def url():
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    write_wav(path, syllables(4))
    return path


@pytest.fixture(scope="module")
def browser(voice, launch_chromium):
    running = launch_chromium(f"--use-file-for-fake-audio-capture={voice}")
    yield running
    running.close()


@pytest.fixture(scope="module")
def context(browser):
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    yield made
    made.close()


@pytest.fixture
def page(context, url):
    opened = context.new_page()
    errors = []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.set_default_timeout(30_000)
    opened.goto(url)
    yield opened
    opened.close()
    assert not errors


def measure(page, seconds: float) -> tuple[float, float]:
    """Return how far the mouth's pixels move (grey levels) and the loudest sound (RMS)."""
    images, loudness = page.evaluate(MEASURE, seconds)
    return float(np.std(np.array(images, float), axis=0).mean()), max(loudness)


def test_the_microphone_moves_the_lips(page):
    start(page)
    at_rest, silence = measure(page, 1)
    page.click("#microphone")
    page.wait_for_selector("#sound[aria-pressed=false]")  # it would be heard twice
    page.wait_for_selector("#state[data-state=speaking]")
    speaking, sound = measure(page, 2)
    assert speaking > 2 * at_rest + 0.5
    assert silence < 0.01 < sound
    page.click("#microphone")
    page.wait_for_selector("#state[data-state=idle]")
    assert "Delay about" in page.inner_text("#delay")


@pytest.mark.skipif(not is_installed(), reason="the extra speech is not installed")
def test_typed_text_speaks_until_it_is_interrupted(page):
    start(page)
    page.fill("#text", "This is a long sentence that goes on and on, so that there is time to interrupt it. " * 4)
    page.press("#text", "Enter")
    page.wait_for_selector("#state[data-state=speaking]")
    _, sound = measure(page, 1)
    assert sound > 0.01
    page.keyboard.press("Escape")
    page.wait_for_selector("#state[data-state=idle]")
    heard = [measure(page, 1)[1]]
    while heard[-1] >= 0.01 and len(heard) < 4:  # the browser has buffered some; the text takes 20 s, without a pause
        heard.append(measure(page, 1)[1])
    assert heard[-1] < 0.01, heard
    assert not page.inner_text("#message")


def test_a_camera_without_a_face_changes_nothing(page):
    start(page)
    page.click("#camera")
    page.wait_for_selector("#camera[aria-pressed=true]")
    page.wait_for_timeout(1000)
    assert page.get_attribute("#state", "data-state") == "idle"
    page.click("#camera")
    page.wait_for_selector("#camera[aria-pressed=false]")


def test_sessions_are_limited_and_those_that_leave_make_room(context):
    with serving(most_sessions=1) as url:
        pages = [context.new_page() for _ in range(2)]
        for each in pages:
            each.goto(url)
        start(pages[0])
        pages[1].click("#start")
        pages[1].wait_for_selector("text=All sessions are taken")
        pages[0].close()
        for _ in range(40):
            pages[1].click("#start")
            pages[1].wait_for_selector("#start:enabled")
            if "taken" not in pages[1].inner_text("#message"):
                break
            pages[1].wait_for_timeout(250)
        pages[1].wait_for_selector("#interrupt:enabled")
        pages[1].close()


def test_the_page_at_all_sizes(page, tmp_path):
    """It fits, says what it shows, and pictures are left in $LPT_ARTIFACTS."""
    folder = Path(os.environ.get("LPT_ARTIFACTS", tmp_path))
    start(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, height in ((1280, 900), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(200)
            assert "AI-generated" in page.inner_text("main")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.screenshot(path=folder / f"live-{width}-{scheme}.png", full_page=True)


def test_a_chosen_portrait_is_that_of_the_call_only(page, tmp_path):
    mirrored = cv2.flip(cv2.imread(str(PORTRAIT)), 1)
    cv2.imwrite(str(tmp_path / "mine.png"), mirrored)
    before = set(Path(tempfile.gettempdir()).glob("lpt-portrait-*"))
    page.set_input_files("#portrait", tmp_path / "mine.png")
    page.wait_for_function("document.getElementById('face').poster.startsWith('blob:')")
    start(page)
    page.wait_for_timeout(500)
    page.evaluate("document.getElementById('face').pause()")
    jpeg = page.evaluate(
        """() => {
            const pen = document.createElement("canvas").getContext("2d");
            pen.canvas.width = pen.canvas.height = 64;
            pen.drawImage(document.getElementById("face"), 0, 0, 64, 64);
            return pen.canvas.toDataURL("image/png");
        }"""
    )
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(jpeg.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    expected = cv2.resize(mirrored, (64, 64), interpolation=cv2.INTER_AREA)
    errors = [np.abs(shown.astype(float) - picture).mean() for picture in (expected, expected[:, ::-1])]
    assert errors[0] < 0.5 * errors[1]
    assert page.is_disabled("#portrait")
    assert set(Path(tempfile.gettempdir()).glob("lpt-portrait-*")) == before


def test_a_portrait_that_cannot_be_used_gets_one_sentence(context, url, tmp_path):
    page = context.new_page()  # whose refused calls are errors of the console
    page.goto(url)
    blank, broken = tmp_path / "blank.png", tmp_path / "broken.png"
    cv2.imwrite(str(blank), np.full((64, 64, 3), 90, np.uint8))
    broken.write_bytes(PORTRAIT.read_bytes()[:2000])
    for path, words in ((blank, "face"), (broken, "The portrait")):
        page.set_input_files("#portrait", path)
        page.click("#start")
        page.wait_for_selector("#portrait:enabled")
        page.wait_for_function("document.getElementById('message').textContent")
        sentence = page.inner_text("#message")
        assert words in sentence and sentence.count(".") == 1 and "lpt-" not in sentence, sentence
    (tmp_path / "large.png").write_bytes(bytes(20_000_001))
    page.set_input_files("#portrait", tmp_path / "large.png")
    assert "more than 20 MB" in page.inner_text("#message")
    page.close()


def test_requests_that_are_refused(url):
    def status(path: str, body: bytes | None = None, **headers: str) -> int:
        try:
            return urllib.request.urlopen(urllib.request.Request(url + path, body, headers)).status
        except urllib.error.HTTPError as error:
            return error.code

    assert status("") == status("settings") == status("portrait.jpg") == 200
    assert status("../webrtc.py") == 404
    assert status("call", b"nonsense") == 400
    assert status("call", json.dumps({"offer": "v" * 100_000}).encode()) == 400
    assert status("call", b'{"offer": "v=0", "portrait": "?"}') == 400
    assert status("call", bytes(28_000_000)) == 400
    assert status("", Host="evil.example") == 421
    assert status("call", b"v=0", Origin="https://evil.example") == 403


def test_mistakes_of_the_command(capsys, monkeypatch):
    for words, reason in (
        (["--ice-server", "example.org"], "stun:HOST:PORT"),
        (["--ice-server", "turn:example.org:3478"], "LPT_TURN_AUTH"),
        (["--allow-origin", "https://example.org"], "--websocket"),
        (["--sample-rate", "16000"], "--websocket"),
        (["--websocket", "--ice-server", "stun:example.org"], "is for the page"),
        (["--auth", "/missing"], "cannot be read"),
    ):
        assert main(["live", str(PORTRAIT), *words]) == 2
        assert reason in capsys.readouterr().err
    monkeypatch.setattr("liveportrait_talker.cli.live.find_spec", lambda name: None)
    assert main(["live", str(PORTRAIT)]) == 2
    assert "pip install 'liveportrait-talker[live]'" in capsys.readouterr().err
