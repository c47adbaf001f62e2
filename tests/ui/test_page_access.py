"""Who may use the page: foreign hosts, other web sites, passwords, and what is hidden from strangers."""

from __future__ import annotations

import base64
import functools
import http.client
import http.server
import json
import os
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import fake_work

from liveportrait_talker.cli.main import main
from liveportrait_talker.errors import OptionError
from liveportrait_talker.examples import FOLDER as EXAMPLES
from liveportrait_talker.serving.accounts import Accounts
from liveportrait_talker.ui.server import Server, Settings
from liveportrait_talker.weights import store

gradio_client = pytest.importorskip("gradio_client")

PATHS = (
    "/",
    "/config",
    "/gradio_api/info",
    "/gradio_api/upload",
    "/gradio_api/file=/etc/hostname",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data?session_hash=abc",
    "/gradio_api/heartbeat/abc",
    "/gradio_api/call/talk",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    "/gradio_api/startup-events",
    "/gradio_api/app_id",
    "/theme.css",
    "/login",
    "/assets/none.js",
)
USER, PASSWORD = "maria", "correct: hörse"


def ask(server: Server, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
    """Send a request; header names have underscores. Returns (status, body)."""
    port = int(server.url.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = b"" if answer.headers.get("content-type", "").startswith("text/event-stream") else answer.read()
    connection.close()
    return answer.status, text.decode(errors="replace")


def upload(server: Server, **headers: str) -> int:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    kind = {"Content_Type": "multipart/form-data; boundary=x"}
    return int(ask(server, "/gradio_api/upload", "POST", body, **kind, **headers)[0])


def basic(user: str = USER, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class TestHosts:
    @pytest.mark.parametrize("path", PATHS)
    def test_foreign_names_are_refused(self, fake: Server, path: str):
        for host in ("evil.example", "evil.example:7860", "0.0.0.0:7860", "192.168.1.9:7860", "localhost.evil.example"):
            status, text = ask(fake, path, Host=host)
            assert status == 421 and text.count("\n") == 1 and "--allowed-host" in text

    @pytest.mark.parametrize("host", ["", "a b", "127.0.0.1@evil.example", "<script>", "[::1", "evil.example:x", "ü"])
    def test_other_words_are_refused(self, fake: Server, host: str):
        status, text = ask(fake, Host=host)
        assert status in (400, 421) and "<" not in text

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7860", "127.0.0.1:8888", "127.0.0.2", "[::1]:7860"])
    def test_loopback_names_are_answered_on_any_port(self, fake: Server, host: str):
        """A port may be forwarded, by ssh or Docker."""
        assert ask(fake, Host=host)[0] == 200
        assert upload(fake, Host=host, Origin=f"http://{host.lower()}", Sec_Fetch_Site="same-origin") == 200

    def test_no_host(self, fake: Server):
        port = int(fake.url.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /config HTTP/1.0\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 421")

    def test_allowed_hosts(self, serve: Callable[..., Server]):
        server = serve(fake_work, allowed_hosts=["page.example", "Münchner.example:8443", "tls.example:443"])
        for host in ("page.example", "Page.Example:99", "xn--mnchner-n2a.example:8443", "tls.example", "localhost"):
            assert ask(server, Host=host)[0] == 200
        for host in ("a.page.example", "xn--mnchner-n2a.example", "tls.example:8443", "evil.example"):
            assert ask(server, Host=host)[0] == 421
        assert upload(server, Host="page.example", Origin="https://page.example") == 200
        assert upload(server, Host="page.example", Origin="https://tls.example") == 403

    def test_any_address_but_no_name_on_all_interfaces(self, serve: Callable[..., Server]):
        server = serve(fake_work, host="0.0.0.0")
        assert ask(server, Host="192.168.1.9:7860")[0] == ask(server, Host="[2001:db8::1]:7860")[0] == 200
        assert ask(server, Host="evil.example:7860")[0] == 421

    @pytest.mark.parametrize("host", ["http://page.example", "page.example/x", "*", "", "page.example:x"])
    def test_unusable_allowed_hosts(self, host: str, capsys: pytest.CaptureFixture[str]):
        assert main(["ui", "--no-open", "--allowed-host", host]) == 2
        assert "is not a host" in capsys.readouterr().err

    def test_forwarded_hosts_do_not_enter_the_configuration(self, fake: Server):
        for name in ("X_Forwarded_Host", "X_Gradio_Server"):
            status, text = ask(fake, "/config", **{name: "http://evil.example"})
            assert status == 200 and "evil.example" not in text
        assert json.loads(ask(fake, "/config", X_Forwarded_Proto="https")[1])["root"].startswith("https:")  # a proxy


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:1"},
            {"Origin": "https://127.0.0.1"},
            {"Origin": "chrome-extension://abc"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
        ],
    )
    def test_are_refused(self, fake: Server, headers: dict[str, str]):
        before = set(fake.backend.uploads.served.rglob("*"))
        assert upload(fake, **headers) == 403
        for path in PATHS:
            assert ask(fake, path, **headers)[0] == 403
        assert ask(fake, "/gradio_api/upload", "OPTIONS", Access_Control_Request_Method="POST", **headers)[0] == 403
        assert set(fake.backend.uploads.served.rglob("*")) == before

    def test_links_open_the_page_and_nothing_else(self, fake: Server):
        link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        assert ask(fake, "/?__theme=dark", **link)[0] == 200
        assert ask(fake, "/gradio_api/deep_link?session_hash=abc", **link)[0] == 403
        assert ask(fake, "/", "POST", **link)[0] == 403

    def test_programs_and_the_page_itself_are_answered(self, fake: Server):
        assert upload(fake) == 200
        origin = fake.url.rstrip("/")
        assert upload(fake, Origin=origin, Sec_Fetch_Site="same-origin") == 200
        assert ask(fake, Sec_Fetch_Site="none")[0] == 200

    def test_in_a_browser(self, fake: Server, browser: Any, tmp_path: Path):
        """A page of another server of this computer, which is another site, sends an upload."""
        (tmp_path / "index.html").write_text("<p>evil")
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
        page = browser.new_page()
        sent: list[Any] = []
        page.on("response", lambda answer: sent.append(answer))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
            threading.Thread(target=other.serve_forever, daemon=True).start()
            page.goto(f"http://127.0.0.1:{other.server_port}/")
            script = """url => { const form = new FormData(); form.append('files', new Blob(['x']), 'a.txt');
              return fetch(url, {method: 'POST', mode: 'no-cors', body: form}).then(() => {}, () => {}); }"""
            page.evaluate(script, f"{fake.url}gradio_api/upload")
            other.shutdown()
        assert [answer.status for answer in sent if "upload" in answer.url] == [403]
        page.close()


@pytest.fixture(scope="module")
def closed(serve: Callable[..., Server]) -> Server:
    return serve(fake_work, auth=[(USER, PASSWORD), ("paul", "x")])


class TestAccounts:
    @pytest.mark.parametrize("path", PATHS)
    def test_nothing_without_a_password(self, closed: Server, path: str):
        for method in ("GET", "POST", "HEAD"):
            status, text = ask(closed, path, method)
            assert status == 401 and "LivePortrait" not in text

    @pytest.mark.parametrize(
        "wrong",
        ["Basic", "Basic !", "Bearer abc", basic("maria", "x"), basic("paul", PASSWORD), basic("", ""), "Basic ü"],
    )
    def test_wrong_ones(self, closed: Server, wrong: str):
        assert ask(closed, Authorization=wrong, X_Forwarded_For="192.0.2.4")[0] == 401

    def test_right_ones(self, closed: Server):
        assert ask(closed, Authorization=basic())[0] == ask(closed, Authorization=basic("paul", "x"))[0] == 200
        assert ask(closed, Authorization=basic(), Host="evil.example")[0] == 421
        assert upload(closed, Authorization=basic()) == 200
        assert upload(closed, Authorization=basic(), Origin="http://evil.example") == 403

    def test_guesses_are_limited_for_each_client(self, closed: Server):
        """The clients are those that a proxy on this computer names."""
        here = {"X_Forwarded_For": "192.0.2.1"}
        assert ask(closed, Authorization=basic("paul"), **here)[0] == 401
        assert [ask(closed, Authorization=basic(USER, f"{k}"), **here)[0] for k in range(12)] == [401] * 9 + [429] * 3
        assert ask(closed, Authorization=basic(), **here)[0] == 429
        assert ask(closed, Authorization=basic(), X_Forwarded_For="192.0.2.2")[0] == 200

    def test_no_password_is_kept(self):
        accounts = Accounts([(USER, PASSWORD)])
        assert accounts.check("192.0.2.1", basic()) is None
        kept = repr(vars(accounts))
        assert PASSWORD not in kept and basic().removeprefix("Basic ") not in kept

    def test_guesses_do_not_keep_a_client_out_that_was_admitted(self, closed: Server):
        here = {"X_Forwarded_For": "192.0.2.3"}
        assert ask(closed, Authorization=basic(), **here)[0] == 200
        assert [ask(closed, Authorization=basic(USER, f"{k}"), **here)[0] for k in range(11)][-1] == 429
        assert ask(closed, Authorization=basic(), **here)[0] == 200

    def test_for_programs(self, closed: Server, tmp_path: Path):
        with pytest.raises(ValueError):
            gradio_client.Client(closed.url, verbose=False)
        client = gradio_client.Client(
            closed.url, verbose=False, httpx_kwargs={"auth": (USER, PASSWORD)}, download_files=str(tmp_path)
        )
        handle = gradio_client.handle_file
        video, report = client.predict(
            source=handle(EXAMPLES / "portrait.png"), voice=handle(EXAMPLES / "voice.wav"), api_name="/talk"
        )
        assert Path(video).is_file() and report["seed"] == 0
        client.close()

    def test_in_a_browser(self, closed: Server, browser: Any, artefacts: Path):
        context = browser.new_context(http_credentials={"username": USER, "password": PASSWORD})
        page = context.new_page()
        statuses: list[int] = []
        page.on("response", lambda answer: statuses.append(answer.status))
        page.goto(closed.url)
        page.locator("#talk-source input[type=file]").set_input_files(EXAMPLES / "portrait.png")
        page.get_by_text("Seen as: picture").wait_for()
        page.locator("#talk-voice input[type=file]").set_input_files(EXAMPLES / "voice.wav")
        page.get_by_text("Heard as: voice").wait_for()
        page.locator("#talk-run").click()
        page.locator("#talk-status [data-state=done]").wait_for()
        page.screenshot(path=artefacts / "talk-auth-1280.png", full_page=True)
        assert set(statuses) <= {200, 204, 206, 307, 401}
        context.close()


class TestPasswordFiles:
    def write(self, folder: Path, text: bytes, mode: int = 0o600) -> Path:
        path = folder / "accounts"
        path.write_bytes(text)
        path.chmod(mode)
        return path

    def start(self, monkeypatch: pytest.MonkeyPatch, *words: str) -> Settings | None:
        """Run the command line with a server that only keeps its settings."""
        kept: list[Settings] = []

        def stop(settings: Settings) -> None:
            kept.append(settings)
            raise KeyboardInterrupt

        monkeypatch.setattr("liveportrait_talker.ui.server.Server", stop)
        assert main(["ui", "--no-open", *words]) == (0 if kept else 2)
        return kept[0] if kept else None

    def test_accounts_of_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        text = "\ufeffmaria:correct: hörse \r\n\npaul:x\n".encode()
        settings = self.start(monkeypatch, "--auth", str(self.write(tmp_path, text)))
        assert settings is not None and list(settings.auth) == [("maria", "correct: hörse "), ("paul", "x")]
        assert "hörse" not in repr(settings)

    def test_accounts_of_the_environment(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("LPT_UI_AUTH", "maria:secret")
        settings = self.start(monkeypatch)
        assert settings is not None and list(settings.auth) == [("maria", "secret")]
        assert "LPT_UI_AUTH" not in os.environ

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
    @pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
    def test_files_that_are_open_to_others(self, tmp_path: Path, mode: int, capsys: pytest.CaptureFixture[str]):
        path = self.write(tmp_path, b"maria:secret\n", mode)
        assert main(["ui", "--no-open", "--auth", str(path)]) == 2
        assert "is open to other users of this computer: chmod o= " in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (b"", "holds no user"),
            (b"\n\n", "holds no user"),
            (b"maria\n", "line 1 is not of the form user:password"),
            (b"a:b\n:secret\n", "line 2 is not of the form user:password"),
            (b"maria:\n", "line 1 is not of the form user:password"),
            (b"a:b\na:c\n", "line 2 names a user for the second time"),
            (b"\xff\xfe:\n", "is not UTF-8 text"),
        ],
    )
    def test_unusable_files(self, tmp_path: Path, text: bytes, sentence: str, capsys: pytest.CaptureFixture[str]):
        assert main(["ui", "--no-open", "--auth", str(self.write(tmp_path, text))]) == 2
        error = capsys.readouterr().err
        assert sentence in error and "secret" not in error

    def test_a_missing_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        assert main(["ui", "--no-open", "--auth", str(tmp_path / "none")]) == 2
        assert "none cannot be read: No such file or directory" in capsys.readouterr().err

    @pytest.mark.parametrize(("value", "sentence"), [("", "holds no user"), ("maria", "line 1 is not of the form")])
    def test_unusable_environment(
        self, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        monkeypatch.setenv("LPT_UI_AUTH", value)
        assert main(["ui", "--no-open"]) == 2
        assert f"LPT_UI_AUTH{':' if value else ''} {sentence}" in capsys.readouterr().err

    def test_both(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        monkeypatch.setenv("LPT_UI_AUTH", "maria:secret")
        assert main(["ui", "--no-open", "--auth", str(self.write(tmp_path, b"a:b"))]) == 2
        assert "contradict each other" in capsys.readouterr().err


@pytest.fixture(scope="module")
def small(serve: Callable[..., Server]) -> Server:
    return serve(fake_work, downloads=False)


class TestWithoutDownloads:
    def test_there_are_no_such_events(self, small: Server):
        """Neither buttons nor endpoints: every event of the page is counted."""
        config = json.loads(ask(small, "/config")[1])
        names = {part["props"].get("elem_id") for part in config["components"]}
        assert "models-table" in names and not names & {"models-download", "models-names", "about-check"}
        named = {event["api_name"] for event in config["dependencies"]}
        assert not named & {"download", "run_doctor"}

    def test_every_event_leaves_the_weights_alone(self, small: Server, monkeypatch: pytest.MonkeyPatch):
        from liveportrait_talker.pipelines import doctor

        called: list[object] = []
        monkeypatch.setattr(doctor, "report", lambda: called.append(1))
        monkeypatch.setattr(type(small.backend.jobs), "submit", lambda *given: called.append(given))
        for event in range(200):
            body = json.dumps({"data": [["mappingnet"]], "fn_index": event, "session_hash": "abc"}).encode()
            ask(small, "/gradio_api/queue/join", "POST", body, Content_Type="application/json")
        ask(small, "/gradio_api/queue/data?session_hash=abc")
        assert not called

    def test_in_a_browser(self, small: Server, visit: Any):
        page = visit(small)
        page.get_by_role("tab", name="Models").click()
        page.locator("#models-table td").first.wait_for()
        assert page.locator("#models-download, #models-names").count() == 0
        page.get_by_role("tab", name="About").click()
        page.locator("#about-versions td").first.wait_for()
        assert page.locator("#about-check").count() == 0


def test_the_health_of_the_server_is_told_to_anybody(closed: Server):
    def status(path: str, **headers: str) -> int:
        try:
            return int(urllib.request.urlopen(urllib.request.Request(closed.url + path, None, headers)).status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status("healthz") == status("healthz", Host="10.1.2.3") == 200
    assert status("healthz/config") == status("config") == 401


def test_responses_name_no_folder_of_the_server(fake: Server, monkeypatch: pytest.MonkeyPatch):
    package = Path(sys.modules["liveportrait_talker"].__file__ or "").parent
    folders = [Path.home(), store.root(), package, Path.cwd(), Path(sys.prefix)]
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/theme.css", "/gradio_api/file=/x/y"):
        text = ask(fake, path)[1]
        assert text and not [folder for folder in folders if str(folder) in text]


def test_tabs_name_no_folder_of_the_server(
    serve: Callable[..., Server], visit: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    home = tmp_path / "home of Jane Doe"
    (home / "weights").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LPT_MODELS", str(home / "weights"))
    page = visit(serve(fake_work))
    page.get_by_role("tab", name="Models").click()
    page.locator("#models-table td").first.wait_for()
    page.get_by_role("tab", name="About").click()
    page.locator("#about-versions td").first.wait_for()
    page.locator("#about-check").click()
    page.wait_for_function("document.querySelector('#about-doctor textarea')?.value.includes('renderer neural')")
    shown = page.locator("#models-table, #about-versions").all_inner_texts()
    shown.append(page.locator("#about-doctor textarea").input_value())
    assert "the models folder" in " ".join(shown)
    assert "Jane" not in " ".join(shown) and tempfile.gettempdir() not in " ".join(shown)


def test_settings_are_checked_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OptionError, match="is not a host"):
        Settings(allowed_hosts=["http://page.example"])
    assert not any(tmp_path.iterdir())
