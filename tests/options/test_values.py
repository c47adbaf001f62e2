"""Values of the wrong type, from the Python API: each is refused with a message that names it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liveportrait_talker import AnimateOptions, Animator, EditOptions, Editor, Talker, TalkOptions, build_network
from liveportrait_talker.errors import OptionError, TalkerError
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.options.edit import EditSetup
from liveportrait_talker.options.fields import fields_of
from liveportrait_talker.pipelines.edit_keyframes import Keyframe


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")


NESTED: list[Any] = []
for _ in range(5000):
    NESTED = [NESTED]
WRONG = [
    *(b"x", 10**400, 10**5000, float("nan"), float("inf"), [], {}, object(), NESTED, np.zeros(3), 1j),
    *(Fraction(10**9, 7), lambda: 0, {1, 2}, Unshowable(), "a text that is no choice"),
]


def label(value: Any) -> str:
    return type(value).__name__


@pytest.mark.parametrize("value", WRONG, ids=label)
@pytest.mark.parametrize("options", [TalkOptions, AnimateOptions, EditOptions, EditSetup], ids=lambda cls: cls.__name__)
def test_options_are_checked(options, value):
    for field in fields_of(options):
        if isinstance(value, str) and "Path" in str(field.type):
            continue
        if isinstance(value, (np.ndarray, set)) and "Degrees" in str(field.type):  # several numbers
            continue
        if isinstance(value, list) and not value and "tuple" in str(field.type):  # no files, the default
            continue
        with pytest.raises(OptionError) as caught:
            options(**{field.name: value})
        assert len(str(caught.value)) < 400


def test_files_may_be_given_as_text():
    assert TalkOptions(ref_blink="a.mp4", mapping="m.pt").ref_blink == Path("a.mp4")
    assert EditOptions(sample="b.png").sample == Path("b.png")
    several = TalkOptions(mouth_from=["a.png", Path("b.mp4")]).mouth_from
    assert several == (Path("a.png"), Path("b.mp4")) and TalkOptions(mouth_from="a.png").mouth_from == several[:1]
    assert TalkOptions(mouth_from=[]) == TalkOptions()
    assert TalkOptions(yaw=np.float32(3), fps=np.float64(24), seed=np.int64(7)).yaw == (3.0,)


@pytest.mark.parametrize("value", [0, "", "x", {}, [], TalkOptions, Unshowable()], ids=label)
def test_options_of_another_class_are_refused(value, tmp_path):
    out = tmp_path / "out.png"
    with pytest.raises(TypeError, match="must be TalkOptions"):
        Talker().save(PORTRAIT, VOICE, tmp_path / "out.mp4", value)
    with pytest.raises(TypeError, match="must be TalkOptions"):
        next(Talker().frames(PORTRAIT, VOICE, value))
    with pytest.raises(TypeError, match="must be AnimateOptions"):
        Animator().save(PORTRAIT, PORTRAIT, out, value)
    with pytest.raises(TypeError, match="must be EditOptions"):
        Editor().save(PORTRAIT, out, value)
    with pytest.raises(TypeError, match="must be EditSetup"):
        Editor().save(PORTRAIT, out, setup=value)
    for make in (Talker, Animator, Editor):
        with pytest.raises(TypeError, match="a renderer has the method prepare"):
            make(renderer=value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [0, 1.5, b"x", [], {}], ids=label)
def test_files_of_another_type_are_refused(value, tmp_path):
    for arguments in ((value, VOICE, "o.mp4"), (PORTRAIT, value, "o.mp4"), (PORTRAIT, VOICE, value)):
        with pytest.raises((TypeError, OptionError)):  # a dict of voices may be empty
            Talker().save(*arguments)


@pytest.mark.parametrize("name", ["a\0b.mp4", "\ud800.mp4", "é" * 300 + ".mp4", "a/" * 3000 + "b.mp4"], ids=ascii)
def test_impossible_names_are_refused(name, tmp_path):
    small = TalkOptions(max_size=64, renderer="embedded")
    for arguments in ((name, VOICE, tmp_path / "o.mp4"), (PORTRAIT, name, tmp_path / "o.mp4"), (PORTRAIT, VOICE, name)):
        with pytest.raises(TalkerError):
            Talker().save(*arguments, small)
    for template in (name, Path(name).with_suffix(".npz")):
        with pytest.raises(TalkerError):
            Animator().save(PORTRAIT, PORTRAIT, tmp_path / "o.png", save_template=template)


@pytest.mark.parametrize("value", [0, 1.5, {}, [1], [{"time": 0}], b"x"], ids=str)
def test_keyframes_of_another_type_are_refused(value, tmp_path):
    with pytest.raises(TypeError, match="sequence of Keyframe"):
        Editor().save(PORTRAIT, tmp_path / "o.mp4", keyframes=value)


def test_keyframes_are_checked(tmp_path):
    with pytest.raises(OptionError, match="at least one"):
        Editor().save(PORTRAIT, tmp_path / "o.mp4", keyframes=[])
    for value in [*WRONG, None, -1, True]:
        with pytest.raises(OptionError):
            Keyframe(value, {})
        with pytest.raises(OptionError):
            Keyframe(0.0, {"smile": value})
    for values in ([], "smile", None, {"grin": 1}, {1: 1}):
        with pytest.raises(OptionError):
            Keyframe(0.0, values)


def test_names_of_networks_and_renderers_are_checked():
    for value in WRONG:
        with pytest.raises(TalkerError):
            build_network(value)
        with pytest.raises(TalkerError):
            Editor().open(PORTRAIT, value)
