"""`models list | download | verify | path | import` through a parser like the command line's."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from released import write_all

from liveportrait_talker.cli.models import add_models_parser
from liveportrait_talker.errors import WeightsError
from liveportrait_talker.weights import registry, store


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true")
    common.add_argument("--debug", action="store_true")
    add_models_parser(parser.add_subparsers(required=True), common)
    arguments = parser.parse_args(["models", *argv])
    return arguments.run(arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    write_all(tmp_path / "released")
    return tmp_path / "released"


def test_list(capsys):
    assert run("list") == 0
    out = capsys.readouterr().out
    assert str(store.root()) in out and out.count("missing") == 7 and "Apache-2.0" in out
    assert "sadtalker/v0.0.2-256  725.1 MB: sadtalker_audio2exp, sadtalker_audio2pose" in out
    assert run("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [item["file"]["name"] for item in listed] == list(registry.names())


def test_import_then_list_verify_and_path(folder, capsys):
    assert run("import", str(folder)) == 0
    out = capsys.readouterr().out
    assert out.count("imported") == 11 and "taken as your own" in out
    assert run("list") == 0
    assert capsys.readouterr().out.count("ready") == 7
    assert run("verify") == 0
    assert capsys.readouterr().out.count("unchanged") == 11
    assert run("path", "stitching") == 0
    assert capsys.readouterr().out.strip() == str(store.converted_path("stitching"))
    path = store.converted_path("stitching")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run("verify") == 2
    out = capsys.readouterr().out
    assert "bad       stitching" in out and out.count("unchanged") == 10
    assert run("import", str(folder), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [item["network"] for item in report["imported"] if item["fresh"]] == ["stitching"]


def test_import_reports_corrupt_files(folder, capsys):
    path = folder / "liveportrait" / "base_models" / "motion_extractor.pth"
    path.write_bytes(path.read_bytes()[:5000])
    assert run("import", str(folder)) == 2
    out = capsys.readouterr().out
    assert out.count("imported") == 10 and f"refused   {path}: is cut short or corrupt" in out
    empty = folder / "empty"
    empty.mkdir()
    assert run("import", str(empty)) == 2
    assert "no weights were found" in capsys.readouterr().out


def test_download_converts(folder, release, server, pauses, capsys):
    source = folder / "liveportrait" / "base_models" / "motion_extractor.pth"
    server.files["/motion_extractor.pth"] = source.read_bytes()
    release(source.read_bytes())
    assert run("download", "liveportrait/motion_extractor", "--from", server.address) == 0
    assert "licence: MIT" in capsys.readouterr().out
    assert store.converted_path("motion_extractor").is_file()
    assert run("verify", "liveportrait/motion_extractor") == 0
    out = capsys.readouterr().out
    assert "verified  liveportrait/motion_extractor" in out and "unchanged motion_extractor" in out
    assert run("path", "liveportrait/motion_extractor") == 0
    assert capsys.readouterr().out.strip().endswith("store/liveportrait/motion_extractor.pth")


def test_mistakes(capsys, monkeypatch):
    with pytest.raises(WeightsError, match="name the weights to download: --all, or some of liveportrait/"):
        run("download")
    with pytest.raises(WeightsError, match="no weights named 'x'"):
        run("download", "x")
    with pytest.raises(WeightsError, match="no weights named 'x'"):
        run("verify", "x")
    assert run("verify", "mappingnet") == 2
    assert "missing   talker/mappingnet" in capsys.readouterr().out
    assert run("verify") == 0
    assert "nothing is installed" in capsys.readouterr().out
    monkeypatch.setenv("LPT_OFFLINE", "1")
    with pytest.raises(WeightsError, match="LPT_OFFLINE forbids downloads"):
        run("download", "--all")


def test_where_the_store_is(monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_MODELS", str(tmp_path / "a"))
    assert store.root() == tmp_path / "a"
    monkeypatch.delenv("LPT_MODELS")
    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "b"))
    assert store.root() == tmp_path / "b" / "models"
    monkeypatch.delenv("LPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert store.root() == tmp_path / "c" / "liveportrait-talker" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "d")
    assert store.root() == tmp_path / "d" / ".cache" / "liveportrait-talker" / "models"


def test_unknown_home_folders_are_reported(monkeypatch):
    for place in ("import", "download"):
        with pytest.raises(WeightsError, match="~nosuchuser"):
            run(*(("import", "~nosuchuser/x") if place == "import" else ("download", "--all", "--from", "~nosuchuser")))
    monkeypatch.setenv("LPT_MODELS", "~nosuchuser/models")
    with pytest.raises(WeightsError, match="set LPT_MODELS"):
        store.root()


def test_the_registry_is_consistent():
    assert sorted(n for file in registry.FILES for n in file.networks) == sorted(registry.NETWORKS)
    for file in registry.FILES:
        assert file.sources and all(address.startswith("https://") for address in file.sources)
        assert Path(file.file_name).name == file.file_name and file.licence
        assert (file.sha256 is None) == (file.size is None) and len(file.sha256 or "0" * 64) == 64
    assert {file.name for file in registry.select(["liveportrait", "stitching"])} == {
        name for name in registry.names() if name.startswith("liveportrait/")
    }
    assert registry.find("SadTalker_V0.0.2_256.safetensors") is registry.holding("sadtalker_audio2pose")


def test_building_the_parser_loads_nothing_heavy():
    code = (
        "import sys, argparse\n"
        "from liveportrait_talker.cli.models import add_models_parser\n"
        "add_models_parser(argparse.ArgumentParser().add_subparsers(), argparse.ArgumentParser(add_help=False))\n"
        "heavy = {'torch', 'safetensors', 'numpy', 'ssl', 'http.client', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
