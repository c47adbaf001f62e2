"""The page's API and its access restrictions."""

from __future__ import annotations

import ast
import json
import os
import textwrap
from pathlib import Path
from typing import Any

import cv2
import pytest
from fakes import long_work
from waiting import wait_until

import liveportrait_talker.ui as ui
from liveportrait_talker.examples import FOLDER as EXAMPLES
from liveportrait_talker.ui.server import Server
from sounds import syllables, write_wav

gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def client(fake: Server, tmp_path_factory: Any) -> Any:
    return gradio_client.Client(fake.url, verbose=False, download_files=str(tmp_path_factory.mktemp("api")))


def test_the_example_of_the_docstring(serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """With the real renderer, on small pictures and a short voice."""
    (tmp_path / "examples").mkdir()
    for name in ("portrait.png", "pair.jpg"):
        small = cv2.resize(cv2.imread(str(EXAMPLES / name)), None, fx=1 / 3, fy=1 / 3, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / "examples" / name), small)
    write_wav(tmp_path / "examples" / "voice.wav", syllables(0.5))
    server = serve()
    code = textwrap.dedent("\n".join(line for line in (ui.__doc__ or "").splitlines() if line.startswith("    ")))
    code = code.replace("http://127.0.0.1:7860", server.url)
    code = code.replace("starts=[0, 7.5]", "starts=[0, 0.5]")
    ast.parse(code)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert Path(names["picture"]).suffix == ".png" and Path(names["video"]).read_bytes()[4:8] == b"ftyp"
    assert names["report"]["renderer"] == "embedded" and "path" not in names["report"]
    names["client"].close()


def test_options_by_name(client: Any):
    handle = gradio_client.handle_file
    video, report = client.predict(
        source=handle(EXAMPLES / "portrait.png"),
        voice=handle(EXAMPLES / "voice.wav"),
        options={"seed": 7, "yaw": [0, 8]},
        ref_blink=handle(EXAMPLES / "voice.wav"),
        api_name="/talk",
    )
    assert report["options"]["seed"] == 7 and report["options"]["yaw"] == [0, 8]
    assert report["options"]["ref_blink"] == "the reference blink video" and Path(video).exists()
    assert "ref_blink=PosixPath('the reference blink video')" in report["as_text"]
    assert "the portrait" in report["files"]
    assert "/lpt-ui-" not in json.dumps(report)


@pytest.mark.parametrize(
    ("endpoint", "inputs"),
    [("/talk", ("source", "voice")), ("/animate", ("source", "driving")), ("/edit", ("portrait",))],
)
def test_several_files_of_one_option(client: Any, endpoint: str, inputs: tuple[str, ...]):
    handle = gradio_client.handle_file
    files = {"source": "portrait.png", "portrait": "portrait.png", "driving": "portrait.png", "voice": "voice.wav"}
    given = {name: handle(EXAMPLES / files[name]) for name in inputs}
    mouths = [handle(EXAMPLES / "portrait.png"), handle(EXAMPLES / "voice.wav")]
    _, report = client.predict(**given, mouth_from=mouths, api_name=endpoint)
    assert report["options"]["mouth_from"] == ["mouth example 1", "mouth example 2"]
    assert "/lpt-ui-" not in json.dumps(report)
    options = "setup" if endpoint == "/edit" else "options"
    with pytest.raises(gradio_client.exceptions.AppError, match="mouth_from is a file: upload it"):
        client.predict(**given, **{options: {"mouth_from": ["/etc/passwd"]}}, api_name=endpoint)


def test_voices_of_several_faces(client: Any):
    picture, voice = gradio_client.handle_file(EXAMPLES / "pair.jpg"), gradio_client.handle_file(EXAMPLES / "voice.wav")
    _, report = client.predict(
        source=picture, voices=[voice, voice], faces=[2, 1], starts=[0, 1.5], options={"seed": 7}, api_name="/speakers"
    )
    said = report["as_text"]
    assert said.index("2: GivenVoice(") < said.index("1: GivenVoice(") < said.index("start_seconds=1.5")
    assert "seed=7" in said and "the voice of face 1" in report["files"]
    for given, sentence in (
        ({}, "nobody has a voice yet"),
        ({"voices": [voice], "faces": [1, 2]}, "faces is a list with one entry for each voice; voices given: 1"),
        ({"voices": [voice], "starts": {"1": 2}}, "starts is a list"),
        ({"voices": [voice], "starts": ["soon"]}, "a voice starts at 0 seconds or later, not at soon"),
        ({"voices": [voice, voice], "faces": [1, 1]}, "faces are different numbers from 1 on"),
        ({"voices": [voice], "faces": ["left"]}, "faces are different numbers from 1 on"),
        ({"voices": [voice], "options": {"face": 2}}, "there is no option 'face'"),
        ({"voices": [voice] * 9}, "9 voices are too many: give at most 8"),
    ):
        with pytest.raises(gradio_client.exceptions.AppError, match=sentence):
            client.predict(source=picture, **given, api_name="/speakers")


def test_reports_hold_no_path_of_the_server(client: Any, tmp_path: Path):
    handle = gradio_client.handle_file
    (tmp_path / "frames.json").write_text('[{"time": 0}]')
    _, report = client.predict(
        portrait=handle(EXAMPLES / "portrait.png"),
        sample=handle(EXAMPLES / "portrait.png"),
        keyframes=handle(tmp_path / "frames.json"),
        api_name="/edit",
    )
    assert report["options"]["sample"] == "the sample" and "the keyframes.json" in report["files"]
    assert "/lpt-ui-" not in json.dumps(report)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"options": {"sead": 7}}, "there is no option 'sead'"),
        ({"options": {"seed": -1}}, "--seed -1 is out of range"),
        ({"options": {"ref_blink": "/etc/passwd"}}, "ref_blink is a file: upload it"),
        ({"mapping": gradio_client.handle_file(EXAMPLES / "voice.wav")}, "the mapping must be a .safetensors file"),
        ({"voice": None}, "there is no voice yet"),
        ({"voice": None, "text": "x" * 6000}, "the text has 6,000 characters, the limit is 5,000"),
    ],
)
def test_error_messages(client: Any, given: dict[str, Any], sentence: str):
    handle = gradio_client.handle_file
    inputs = {"source": handle(EXAMPLES / "portrait.png"), "voice": handle(EXAMPLES / "voice.wav")} | given
    with pytest.raises(gradio_client.exceptions.AppError, match=sentence):
        client.predict(**{key: value for key, value in inputs.items() if value is not None}, api_name="/talk")


def test_cancel_stops_the_job(serve: Any):
    server = serve(long_work)
    client = gradio_client.Client(server.url, verbose=False)
    handle = gradio_client.handle_file
    job = client.submit(
        source=handle(EXAMPLES / "portrait.png"), voice=handle(EXAMPLES / "voice.wav"), api_name="/talk"
    )
    wait_until(lambda: any(server.backend.uploads.jobs.rglob("*.part.mp4")))
    job.cancel()
    wait_until(lambda: not any(path.is_file() for path in server.backend.uploads.jobs.rglob("*")), 5)
    client.close()


class TestUploads:
    """Malicious files and names."""

    def post(self, server: Server, path: str, **kwargs: Any) -> Any:
        import httpx

        return httpx.post(f"{server.url}gradio_api/{path}", timeout=20, **kwargs)

    @pytest.mark.parametrize("name", ["../../../evil.png", "/etc/cron.d/evil", "..\\..\\evil.png", "a\x00b.png", "~/x"])
    def test_path_traversal_in_names(self, fake: Server, name: str):
        before = set(Path("/etc/cron.d").glob("*")) | set(fake.backend.uploads.root.parent.glob("evil*"))
        answer = self.post(fake, "upload", files={"files": (name, b"not a picture", "image/png")})
        if answer.status_code == 200:
            assert Path(answer.json()[0]).resolve().is_relative_to(fake.backend.uploads.served.resolve())
        after = set(Path("/etc/cron.d").glob("*")) | set(fake.backend.uploads.root.parent.glob("evil*"))
        assert before == after

    def test_server_paths_are_not_uploads(self, fake: Server):
        data = [
            {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
            None,
            "hello",
            {},
            None,
            None,
            None,
            "",
            0,
            [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}],
        ]
        answer = self.post(fake, "call/talk", json={"data": data})
        assert answer.status_code == 200
        import httpx

        events = httpx.get(f"{fake.url}gradio_api/call/talk/{answer.json()['event_id']}", timeout=20).text
        assert "event: error" in events and "root:" not in events

    @pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd"])
    def test_other_files_are_not_served(self, fake: Server, path: str):
        import httpx

        assert httpx.get(f"{fake.url}gradio_api/file={path}", timeout=20).status_code in (403, 404)

    def test_large_files_are_refused(self, serve: Any):
        server = serve(max_upload_mb=1)
        answer = self.post(server, "upload", files={"files": ("big.png", os.urandom(1_200_000), "image/png")})
        assert answer.status_code == 413

    def test_the_folder_is_private(self, fake: Server):
        assert fake.backend.uploads.root.stat().st_mode & 0o777 == 0o700


def test_the_page_loads_nothing_from_other_hosts(fake: Server, browser: Any):
    page = browser.new_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto(fake.url)
    page.locator("#talk-run").wait_for()
    assert not [url for url in urls if not url.startswith((fake.url, "data:", "blob:"))]
    page.close()
