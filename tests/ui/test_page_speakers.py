"""The Speakers tab, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from accordions import open_accordions

from liveportrait_talker.audio import speech
from liveportrait_talker.errors import OptionError
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.ui.server import Server
from liveportrait_talker.ui.talk_requests import SpeakersRequest
from sounds import syllables, write_wav

NOTHING = {"voice": None, "text": None, "speech_voice": None, "pace": None, "start_seconds": 0}


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of three faces: 1 in the middle, 2 on the left, 3 on the right."""
    face = cv2.imread(str(PORTRAIT))
    canvas = np.full((400, 1110, 3), 128, np.uint8)
    for side, left in ((400, 370), (370, 0), (340, 770)):
        canvas[400 - side :, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    path = tmp_path_factory.mktemp("group") / "group.png"
    cv2.imwrite(str(path), canvas)
    return path


def open_tab(page: Any, picture: Path) -> None:
    page.get_by_role("tab", name="Speakers").click()
    page.locator("#speakers-source input[type=file]").set_input_files(picture)


def give_voice(page: Any, face: int, file: Path) -> None:
    page.locator(f"#speakers-{face}-voice input[type=file]").set_input_files(file)
    page.locator(f"#speakers-{face}-voice-player").get_by_text("Heard as: voice").wait_for()


def finish(page: Any, button: str) -> str:
    """Click a button and return the status at the end."""
    page.locator(f"#speakers-{button}").click()
    page.locator("#speakers-status [data-state=running], #speakers-status [data-state=waiting]").or_(
        page.locator("#speakers-status :is([data-state=done], [data-state=error])")
    ).first.wait_for()
    end = page.locator("#speakers-status :is([data-state=done], [data-state=error])")
    end.wait_for(timeout=120_000)
    return str(end.inner_text())


def test_each_face_has_a_slot_and_its_voice_reaches_the_job(fake: Server, visit: Any, group: Path):
    page = visit(fake)
    open_tab(page, group)
    page.get_by_text("3 faces, numbered in the picture.").wait_for()
    titles = page.locator("#speakers-hint ~ * button.label-wrap").all_inner_texts()
    assert [title.split("\n")[0] for title in titles if title.startswith("Face")] == [
        "Face 1 (middle)",
        "Face 2 (left)",
        "Face 3 (right)",
    ]
    assert "listens" in page.locator("#speakers-hint").inner_text()
    give_voice(page, 1, VOICE)
    give_voice(page, 3, VOICE)
    page.locator("#speakers-3-start input").fill("2.5")
    page.locator("#speakers-3-start input").press("Tab")
    assert "Done" in finish(page, "run")
    link = page.locator("#speakers-history a[download]").get_attribute("href")
    got = page.request.get(f"{fake.url}{link}").text()
    assert got.count("GivenVoice(") == 2 and "the voice of face 1')" in got
    assert "3: GivenVoice(" in got and "start_seconds=2.5)" in got and "2: GivenVoice(" not in got
    line = page.locator("#speakers-command textarea").input_value()
    assert line == (
        "liveportrait-talker generate group.png --speaker 1:voice.wav --speaker 3:voice.wav@2.5 -o dialogue.mp4"
    )


def test_slots_follow_the_picture(fake: Server, visit: Any, group: Path, tmp_path: Path):
    page = visit(fake)
    open_tab(page, group)
    page.locator("#speakers-3-kind").wait_for()
    page.locator("#speakers-source button[aria-label]").first.click()
    page.locator("#speakers-1-kind").wait_for(state="hidden")
    open_tab(page, PORTRAIT)
    page.get_by_text("One face.").wait_for()
    page.locator("#speakers-1-kind").wait_for()
    assert not page.locator("#speakers-2-kind").is_visible()
    assert "Nobody has a voice yet" in finish(page, "run")
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 128, np.uint8))
    page.locator("#speakers-source button[aria-label]").first.click()
    open_tab(page, tmp_path / "wall.png")
    assert "no face" in page.locator("#speakers-source-note [role=alert]").inner_text().lower()
    page.locator("#speakers-1-kind").wait_for(state="hidden")


@pytest.mark.skipif(not speech.is_installed(), reason="the extra speech is not installed")
def test_a_dialogue_is_made(serve: Any, visit: Any, group: Path, artefacts: Path, tmp_path: Path):
    """A sound and a typed text that begins later than the preview ends."""
    write_wav(tmp_path / "voice.wav", syllables(2.4))
    page = visit(serve())
    open_tab(page, group)
    page.get_by_text("3 faces").wait_for()
    give_voice(page, 1, tmp_path / "voice.wav")
    page.locator("#speakers-2-kind").get_by_label("Text").check()
    page.locator("#speakers-2-text textarea").fill("I speak last.")
    page.locator("#speakers-2-start input").fill("2.5")
    page.locator("#speakers-2-start input").press("Tab")
    open_accordions(page, page.locator("#speakers-group-output"))
    page.locator("#speakers-max_size input").fill("555")  # half
    page.locator("#speakers-fps input").fill("12")
    page.locator("#speakers-fps input").press("Tab")
    assert "2.0 s" in finish(page, "preview")
    assert "Done" in finish(page, "run")
    page.locator("#speakers-history li").nth(1).wait_for()
    page.locator("#speakers-compare button").first.click()
    page.locator("#speakers-takes video").nth(1).wait_for()
    text = page.locator("#speakers-status").inner_text()
    assert float(text.split("Done: ")[1].split(" s")[0]) > 3
    assert "--speaker 2:face-2.wav@2.5" in page.locator("#speakers-command textarea").input_value()
    page.screenshot(path=artefacts / "speakers-1280.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    page.screenshot(path=artefacts / "speakers-390.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": None}, "there is no portrait yet"),
        ({"voices": {1: NOTHING, 2: NOTHING | {"text": "  "}}}, "nobody has a voice yet"),
        ({"options": {"face": 2}}, "there is no option 'face'"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, Any], message: str):
    complete: dict[str, Any] = {"source": "a.png", "voices": {1: NOTHING | {"voice": "a.wav"}}, "options": {}}
    SpeakersRequest.check(**complete)
    with pytest.raises(OptionError, match=message):
        SpeakersRequest.check(**complete | given)
