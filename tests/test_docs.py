"""Links, citations and test names in documents and source files exist."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest

from liveportrait_talker.cli.main import main

ROOT = Path(__file__).parents[1]
ROOT_PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES = [*ROOT_PAGES, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "integrations" / "comfyui" / "README.md"]
SOURCES = [
    path for folder in ("src", "tests", "scripts", "integrations") for path in sorted((ROOT / folder).rglob("*.py"))
]
CITATION = re.compile(r"(docs/[\w/]+\.md)(?:, ([A-Z][\w -]*\w))?")
OUTSIDE = re.compile(
    r"(?<![\w/])(?:talker|liveportrait|embedded)\.md|(?<!\w/)\bspec/(?!v1)|\bspec §|specification §|field notes|\bthe (?:shared )?meter\b|§ ?\d"
)


@cache
def sections_of(page: Path) -> set[str]:
    return set(re.findall(r"^#+ (.+?)\s*$", page.read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target or target.startswith(("#", "mailto:")):
            continue
        assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_known_options(page, monkeypatch):
    """Of all documents, without running them; tests/test_readme.py runs those of the README and docs/usage.md."""
    monkeypatch.setattr(sys.modules["liveportrait_talker.cli.main"], "guarded", lambda run, **_: 0)
    for command in re.findall(r"(?:^    |`)(?:\w+=\S+ )?liveportrait-talker ([^`\n]+)", page.read_text(), re.M):
        words = shlex.split(command.rstrip("\\ "), comments=True)
        if len(words) > 1 and not re.search(r"…|\[|--help|--version|\w\|\w", command):  # one word: only a mention
            assert main(words) == 0, command


def test_cited_pages_and_sections_exist():
    wrong = []
    for path in [*SOURCES, *PAGES]:
        if path == Path(__file__):
            continue
        text = re.sub(r"\s*\n\s*#?\s*", " ", path.read_text())
        for page, section in CITATION.findall(text):
            if not (ROOT / page).is_file():
                wrong.append(f"{path.relative_to(ROOT)}: {page}")
            elif section and not any(section.startswith(known) for known in sections_of(ROOT / page)):
                wrong.append(f"{path.relative_to(ROOT)}: {page}, {section}")
    assert not wrong


def test_no_citation_of_files_outside_the_repository():
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if OUTSIDE.search(line)
    ]
    assert not wrong


def test_tests_named_in_documents_exist():
    wrong = []
    for page in PAGES:
        for name, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?", page.read_text()):
            path = ROOT / name
            if not path.is_file() or (test and test not in functions_of(path)):
                wrong.append(f"{page.name}: {name}::{test}")
    assert not wrong


@cache
def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
