"""--background: what it takes, where it is refused, and what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liveportrait_talker import EditOptions, Editor, TalkerError, TalkOptions
from liveportrait_talker.errors import MediaError, OptionError
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, VideoWriter, open_footage
from liveportrait_talker.options.edit import EditSetup
from liveportrait_talker.pipelines.talk import Talker
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer

SMALL = {"renderer": "embedded", "max_size": 320}


@pytest.mark.parametrize(
    ("value", "colour"), [("#00b140", (0, 177, 64)), ("#f80", (255, 136, 0)), ("White", (255, 255, 255))]
)
def test_colours(value: str, colour: tuple[int, int, int]):
    behind = TalkOptions(background=value).behind
    assert behind is not None and behind.colour == colour


@pytest.mark.parametrize(
    ("value", "message"), [("#12345", "write it as #rrggbb"), ("sea", "keep, transparent, a colour"), (7, "not text")]
)
def test_other_values_are_refused(value: object, message: str):
    with pytest.raises(OptionError, match=message):
        EditSetup(background=value)  # type: ignore[arg-type]


def test_the_neural_renderer_refuses_it():
    with pytest.raises(OptionError, match="--background is about the embedded renderer"):
        TalkOptions(renderer="neural", background="green")


def test_an_edit_over_a_picture(tmp_path: Path):
    behind = tmp_path / "behind.png"
    Image.new("RGB", (80, 90), (10, 90, 200)).save(behind)
    setup = EditSetup(background=str(behind), **SMALL)
    Editor().save(PORTRAIT, tmp_path / "out.png", EditOptions(), setup=setup)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (320, 320) and image.getpixel((5, 5)) == (10, 90, 200)
    with pytest.raises(MediaError, match="one of the inputs"):
        Editor().save(PORTRAIT, behind, EditOptions(), setup=setup, overwrite=True)


def test_a_transparent_edit_is_a_png_or_webp(tmp_path: Path):
    setup = EditSetup(background="transparent", **SMALL)
    Editor().save(PORTRAIT, tmp_path / "out.png", EditOptions(rotate_yaw=8), setup=setup)
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGBA" and image.getpixel((5, 5))[3] == 0 and image.getpixel((160, 150))[3] == 255
        assert "AI-generated" in image.text["Comment"]
    with pytest.raises(MediaError, match=r"name a \.png or \.webp"):
        Editor().save(PORTRAIT, tmp_path / "out.jpg", EditOptions(), setup=setup)


def test_a_transparent_talking_video_is_no_mp4(tmp_path: Path):
    with pytest.raises(MediaError, match="to be transparent"):
        Talker().save(PORTRAIT, VOICE, tmp_path / "out.mp4", TalkOptions(background="transparent", **SMALL))


def test_videos_keep_their_background(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    with (
        open_footage(PORTRAIT, max_side=128) as still,
        VideoWriter(clip, size=still.size, fps=25, voice=None, frame_count=2, title="", comment="") as video,
    ):
        for _ in range(2):
            video.write(still[0])
    with pytest.raises(OptionError, match=r"--background is for a picture: "):
        next(Talker().frames(clip, VOICE, TalkOptions(background="green", **SMALL)))
    with pytest.raises(MediaError, match="takes a picture"):
        next(Talker().frames(PORTRAIT, VOICE, TalkOptions(background=str(clip), **SMALL)))


def test_where_nobody_stands_out_it_is_refused():
    seen = track(open_footage(PORTRAIT, max_side=320))
    noise = np.random.default_rng(0).integers(0, 255, seen.footage[0].shape, dtype=np.uint8)
    blank = TrackedSource(Footage.from_array("noise.png", noise), seen.faces)
    with pytest.raises(TalkerError, match="cannot be replaced, because no person is recognised"):
        EmbeddedRenderer(background=np.zeros((1, 1, 3), np.uint8)).prepare(blank)


@pytest.mark.parametrize(("options", "breathes"), [({}, True), ({"breath": False}, False), ({"still": True}, False)])
def test_breath_is_part_of_the_motion_of_a_picture(options: dict[str, bool], breathes: bool):
    moved = {} if "still" in options else {"head_motion": 0.0}
    plain = TalkOptions(blink=False, gaze="still", expression_scale=0, **SMALL, **moved, **options)  # type: ignore[arg-type]
    images = Talker().frames(PORTRAIT, VOICE, plain)
    first = next(images)
    for _ in range(30):
        last = next(images)
    shoulders = np.abs(last.astype(int) - first)[-60:]
    assert bool(shoulders.max() > 10) is breathes
