"""Every option of `generate` is on the page and reaches the job."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from accordions import open_accordions

from liveportrait_talker.examples import FOLDER as EXAMPLES
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.ui.fields import build_widget, fields_of
from liveportrait_talker.ui.server import Server
from liveportrait_talker.ui.visibility import EngineNames, hidden_talk_options

FIELDS = {field.name: field for field in fields_of(TalkOptions)}
NEURAL = {"renderer": "neural", "driver": "learned"}
CLIP = "clip"  # an uploaded video
WEIGHTS = "weights"  # an uploaded .safetensors file
KEYS = "keys"  # an uploaded .json file of keyframes
# Options that can be combined, by name of the test case.
SCENARIOS: dict[str, dict[str, Any]] = {
    "networks, audio head, limits": NEURAL
    | {
        "mapping": WEIGHTS,
        "neutral_mouth": "first",
        "window_rows": 27,
        "driving_smooth_observation_variance": 1e-6,
        "driving_multiplier": 1.5,
        "stitching": False,
        "normalize_lip": False,
        "device": "cpu",
        "precision": "fp32",
        "compile": "off",
        "batch_size": 2,
    }
    | {"head_pose": "audio", "pose_style": 3, "head_motion": 1.4}
    | {"max_size": 512, "max_megapixels": 50.0, "max_seconds": 60.0},
    "still, expression": {
        "still": True,
        "breath": True,
        "blink": True,
        "blink_rate": 30.0,
        "gaze": "still",
        "expression": "happy:0.5",
        "expression_keys": KEYS,
        "liveliness": 1.5,
        "smile": 0.4,
        "eyebrow": 5.0,
        "eye_opening": -3.0,
        "wink": 2.0,
        "aaa": -6.0,
        "eee": 4.0,
        "woo": 3.0,
    },
    "reference, whole frame": {
        "head_pose": "reference",
        "ref_head_pose": CLIP,
        "ref_frames_from_zero": True,
        "ref_blink": CLIP,
        "crop_to_face": False,
        "face": 2,
        "fps": 30.0,
        "encoder": "nvenc",
        "quality": 20,
        "credentials": False,
        "seed": 12,
    },
    "classic, eyes and mouth, crop": {
        "head_style": "classic",
        "yaw": (0.0, 8.0, 0.0),
        "pitch": (2.0,),
        "roll": (-3.0,),
        "blink": False,
        "pupil_x": 8.0,
        "pupil_y": -3.0,
        "expression_scale": 0.7,
        "mouth_from": (CLIP, CLIP),
        "teeth_brightness": -0.35,
        "background": "#00b140",
        "crop": True,
        "crop_scale": 2.7,
        "crop_vx": 0.1,
        "crop_vy": -0.2,
    },
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    from liveportrait_talker.media import VideoWriter, open_footage

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = open_footage(EXAMPLES / "portrait.png", max_side=256)[0]
    with VideoWriter(path, size=(256, 256), fps=25, voice=None, frame_count=5, comment="", title="") as writer:
        for _ in range(5):
            writer.write(np.array(picture))
    return path


def put_all_in(page: Any, prefix: str, fields: Any, values: Mapping[str, Any], clip: Path) -> None:
    """Enter values into widgets, by name. Accordions that are shown from the start are opened together."""
    groups = {field.group.replace(" ", "-") for field in fields if field.name in values and field.name != "seed"}
    shown = [place for group in groups if (place := page.locator(f"#{prefix}-group-{group}")).is_visible()]
    open_accordions(page, *shown)
    for name, value in values.items():
        put_in(page, prefix, fields, name, value, clip)


def put_in(page: Any, prefix: str, fields: Any, name: str, value: Any, clip: Path) -> None:
    """Enter a value into a widget."""
    field = next(field for field in fields if field.name == name)
    place = page.locator(f"#{prefix}-{name}")
    group = page.locator(f"#{prefix}-group-{field.group.replace(' ', '-')}")
    if name != "seed":
        open_accordions(page, group)
    place.wait_for()
    if field.kind == "switch":
        place.locator("input[type=checkbox]").set_checked(value != field.inverted)
    elif field.kind == "three-way":
        place.get_by_label({True: "on", False: "off"}[value], exact=True).check()
    elif field.kind == "choice":
        place.locator("input").click()
        page.get_by_role("option", name=value, exact=True).click()
    elif field.kind == "file":
        file = clip.with_suffix({WEIGHTS: ".safetensors", KEYS: ".json"}.get(value, clip.suffix))
        if value in (WEIGHTS, KEYS):
            file.write_bytes(b"[]")
        place.locator("input[type=file]").set_input_files(file)
        place.get_by_text(file.suffix).last.wait_for()
    elif field.kind == "files":
        copies = [clip.with_name(f"mouth{number}.mp4") for number, _ in enumerate(value, 1)]
        for copy in copies:
            copy.write_bytes(clip.read_bytes())
        place.locator("input[type=file]").set_input_files(copies)
        place.get_by_text(re.compile(f"mouth{len(copies)}")).first.wait_for()
    elif field.kind == "slider":
        place.locator("input[type=number]").fill(f"{value:g}")
        place.locator("input[type=number]").press("Tab")
    else:
        parts = value if isinstance(value, tuple) else (value,)
        words = " ".join(v if isinstance(v, str) else f"{v:g}" for v in parts)
        place.locator("input, textarea").first.fill(words)
        place.locator("input, textarea").first.press("Tab")


@pytest.mark.parametrize("name", SCENARIOS)
def test_options_reach_the_job(name: str, fake: Server, visit: Callable[..., Any], clip: Path):
    page = visit(fake)
    page.locator("#talk-source input[type=file]").set_input_files(EXAMPLES / "portrait.png")
    page.locator("#talk-voice input[type=file]").set_input_files(EXAMPLES / "voice.wav")
    page.get_by_text("Seen as: picture").wait_for()
    put_all_in(page, "talk", FIELDS.values(), SCENARIOS[name], clip)
    page.locator("#talk-run").click()
    page.locator("#talk-status [data-state=done], #talk-status [data-state=error]").wait_for()
    assert page.locator("#talk-status [data-state=done]").count(), page.locator("#talk-status").inner_text()
    link = page.locator("#talk-history a[download]").get_attribute("href")
    got = page.request.get(f"{fake.url}{link}").text()
    for kind, ending in (
        (CLIP, "video"),
        (WEIGHTS, "mapping.safetensors"),
        (KEYS, "keys.json"),
        (CLIP, "mouth example [12]"),
    ):
        got = re.sub(rf"PosixPath\('[^']*{ending}'\)", repr(kind), got)
    if "mouth_from" in SCENARIOS[name]:
        line = page.locator("#talk-command textarea").input_value()
        assert "--mouth-from mouth1.mp4 mouth2.mp4 --teeth-brightness -0.35" in line
    limits = {"max_seconds": 600.0, "max_megapixels": 50.0}
    expected = TalkOptions(**{key: SCENARIOS[name].get(key, value) for key, value in limits.items()})
    wanted = {field.name: getattr(expected, field.name) for field in dataclasses.fields(TalkOptions)} | SCENARIOS[name]
    assert got == f"TalkOptions({', '.join(f'{key}={value!r}' for key, value in wanted.items())})"


@pytest.mark.parametrize(("driver", "shown"), [("signal", False), ("learned", True)])
def test_the_mapping_is_shown_for_the_learned_driver(driver: str, shown: bool):
    start = {field.name: field.default for field in FIELDS.values()}
    assert ("mapping" in hidden_talk_options(start, EngineNames("neural", driver), is_still=True)) is not shown
    assert build_widget(FIELDS["mapping"], prefix="talk").file_types == [".safetensors"]
    assert build_widget(FIELDS["ref_blink"], prefix="talk").file_types is None
    assert FIELDS["mapping"].label == "Mapping"


def test_every_option_is_tested():
    assert {name for scenario in SCENARIOS.values() for name in scenario} == set(FIELDS)


def test_settings_of_a_source_video(fake: Server, visit: Callable[..., Any], clip: Path):
    page = visit(fake)
    page.locator("#talk-source input[type=file]").set_input_files(clip)
    page.get_by_text("Seen as: video").wait_for()
    open_accordions(page, page.locator("#talk-group-head"))
    page.locator("#talk-head_pose").wait_for()
    page.wait_for_function("!document.querySelector('#talk-yaw')?.offsetParent")
    assert not page.locator("#talk-head_style").is_visible() and not page.locator("#talk-head_motion").is_visible()
    page.locator("#talk-head_pose input").click()
    offered = page.get_by_role("option").all_inner_texts()
    assert "source" in " ".join(offered) and "synthetic" not in " ".join(offered)


def test_seeds_and_examples(fake: Server, visit: Callable[..., Any]):
    page = visit(fake)
    rows = page.locator("#talk-examples tbody tr")
    for row, seen in ((2, "picture, 768×768"), (3, "picture, 768×768"), (4, "video, 512×512"), (0, "picture, 768×768")):
        rows.nth(row).locator("td").first.click()
        page.locator("#talk-source-poster").get_by_text(f"Seen as: {seen}").wait_for()
    page.get_by_text("Heard as: voice, 7.4 s").wait_for()
    seed = page.locator("#talk-seed input")
    page.locator("#talk-seed-random").click()
    page.wait_for_function("document.querySelector('#talk-seed input').value != '0'")
    taken = seed.input_value()
    page.locator("#talk-run").click()
    page.locator("#talk-status [data-state=done]").wait_for()
    page.locator("#talk-seed-random").click()
    page.wait_for_function(f"document.querySelector('#talk-seed input').value != '{taken}'")
    page.locator("#talk-seed-last").click()
    page.wait_for_function(f"document.querySelector('#talk-seed input').value == '{taken}'")
