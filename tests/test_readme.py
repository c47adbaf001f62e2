"""Every command in the README works, in the order it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from liveportrait_talker.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    match.group(1).strip()
    for match in re.finditer(r"(?:^    |`)(liveportrait-talker (?:generate|doctor|bench)[^`\n]*)", README, re.M)
]
COMMANDS = [c for c in COMMANDS if not c.endswith("--help")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readme")
    (place / "examples").symlink_to(ROOT / "examples")
    return place


def test_the_readme_has_its_commands():
    assert len(COMMANDS) >= 15
    for flag in ("--still", "--ref-head-pose", "--pupil-x", "--crop", "--json", "--seed"):
        assert any(flag in c for c in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_command(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LPT_CACHE", str(folder / "cache"))
    words = shlex.split(command)[1:]
    assert main(words) == 0, capsys.readouterr().err
    if "-o" in words:
        assert (folder / words[words.index("-o") + 1]).stat().st_size > 10_000


def test_the_python_example_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    code = re.search(r"```python\n(.*?)```", README, re.S)
    assert code is not None
    exec(compile(code.group(1), "README.md", "exec"), {})


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (demo|test|setup)\b", README):
        assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/performance.md"])
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (ROOT / name).parent.joinpath(link).exists(), link
