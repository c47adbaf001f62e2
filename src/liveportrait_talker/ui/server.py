"""The server of the page; its files and processes are removed when it ends."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..options.live import LiveOptions
from ..serving.access import Access, ASGIApp, Hosts
from ..serving.accounts import Accounts
from ..serving.connections import ConnectionLimits, PageServer, bind, page_address
from .jobs import Jobs
from .previews import Previews
from .tasks import run_task
from .uploads import MB, SERVER, UploadLimits, Uploads
from .worker import RunTask

if TYPE_CHECKING:
    import socket

    import gradio as gr

FIRST_PORT, PORTS = 7860, 100
_QUEUE_POLL_S = 0.02  # Gradio's 1 ms takes 7 % of a core of a server that nobody uses
_LOGGERS = tuple(f"{__package__}.{name}" for name in ("body_limits", "api"))
"""Those with a message for a request that fails."""


@dataclass(frozen=True)
class Settings:
    """Address, limits and access. `port` None selects the first free port from FIRST_PORT on.

    The page answers to `allowed_hosts` (names, with or without a port) besides the loopback names and its own address.
    `auth` has pairs (user, password); without any, no password is needed. `downloads` False leaves out the download of
    weights and the check of the computer. `live_sessions` calls of the Live tab are held at once, 0 leaves the tab out;
    `ice_servers` are STUN and TURN servers for them, as dictionaries of RTCIceServer.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    open_browser: bool = False
    max_upload_mb: float = 500.0
    max_seconds: float = 600.0
    max_queue: int = 8
    max_session_mb: float = 2000.0
    max_total_mb: float = 20_000.0
    max_megapixels: float = 50.0
    max_job_minutes: float = 60.0
    allowed_hosts: Sequence[str] = ()
    auth: Sequence[tuple[str, str]] = field(default=(), repr=False)
    downloads: bool = True
    live_sessions: int = 2
    ice_servers: tuple[dict[str, str], ...] = field(default=(), repr=False)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)

    def __post_init__(self) -> None:
        limits = (
            ("port", 1, 65535),
            ("max_upload_mb", 1, 100_000),
            ("max_session_mb", 1, 1_000_000),
            ("max_total_mb", 1, 10_000_000),
            ("max_megapixels", 0.1, 170),
            ("max_seconds", 1, 86400),
            ("max_queue", 1, 1000),
            ("live_sessions", 0, 64),
            ("max_job_minutes", 0.1, 10_000),
        )
        for name, low, high in limits:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionError(f"--{name.replace('_', '-')} {value:g} is out of range: give {low} … {high}.")
        Hosts(self.host, self.allowed_hosts)


class Server:
    """A running page, as a context manager that leaves no file and no process.

    Only one can run in a process: Gradio reads its upload folder from the environment.

    Raises:
        OptionError: the port is in use, or the address does not belong to this machine.
    """

    def __init__(self, settings: Settings, run_task: RunTask = run_task) -> None:
        uploads = Uploads(
            UploadLimits(
                file_mb=settings.max_upload_mb,
                session_mb=settings.max_session_mb,
                total_mb=settings.max_total_mb,
                seconds=settings.max_seconds,
                pixels=int(settings.max_megapixels * 1e6),
            )
        )
        os.environ["GRADIO_TEMP_DIR"] = str(uploads.served)  # read by Gradio at import and by gr.Blocks
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from .app import build
        from .backend import Backend

        jobs = Jobs(uploads.jobs, run_task, max_waiting=settings.max_queue, max_seconds=60 * settings.max_job_minutes)
        self.backend = Backend(uploads, jobs, Previews(uploads))
        try:
            self.page = build(self.backend, downloads=settings.downloads, has_live=settings.live_sessions > 0)
            uploads.retain_all(SERVER)
            self.url = _serve(self.page, settings, uploads)
            if settings.open_browser:
                webbrowser.open(self.url)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the jobs, end the worker, close the page and remove all files."""
        self.backend.jobs.close()
        if hasattr(self, "page") and self.page.is_running:
            self.page.close(verbose=False)
        self.backend.previews.close()
        self.backend.uploads.close()


def _serve(page: gr.Blocks, settings: Settings, uploads: Uploads) -> str:
    """Serve the page from now on; return its address."""
    import gradio as gr
    from fastapi import FastAPI
    from gradio.routes import App
    from starlette.routing import Mount

    from . import live
    from .body_limits import BodyLimits
    from .theme import CSS, SCRIPT, build_theme

    hosts = Hosts(settings.host, settings.allowed_hosts)
    accounts = Accounts(settings.auth) if settings.auth else None
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),  # without pages of its own
        page,
        path="/",
        max_file_size=int(settings.max_upload_mb * MB),
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=["api"],
        theme=build_theme(),
        css=CSS,
        js=SCRIPT,
    )
    mount = app.routes[-1]
    assert isinstance(mount, Mount) and isinstance(mount.app, App)
    mount.app.startup_events_triggered = True  # by uvicorn; else any request for /startup-events starts a second queue
    page.has_launched = True  # else Gradio takes any path in a request for an upload
    page._queue.sleep_when_free = max(page._queue.sleep_when_free, _QUEUE_POLL_S)
    sockets, url = _bind(settings)
    limited: ASGIApp = BodyLimits(app, uploads)
    if settings.live_sessions and live.is_installed():
        limited = live.LiveMount(
            limited,
            LiveOptions(max_megapixels=settings.max_megapixels),
            most_sessions=settings.live_sessions,
            max_portrait_mb=settings.max_upload_mb,
            ice_servers=settings.ice_servers,
        )
    server = PageServer(Access(limited, hosts, accounts), sockets, settings.connections, loggers=_LOGGERS)
    page.app = mount.app  # whose event streams `page.close` ends
    page.server = server  # type: ignore[assignment]  # and which it closes
    server.start()
    return url


def _bind(settings: Settings) -> tuple[list[socket.socket], str]:
    """Return sockets on the given port or the first that is free, and the page's address."""
    host = settings.host.strip("[]")
    ports = [settings.port] if settings.port else range(FIRST_PORT, FIRST_PORT + PORTS)
    for port in ports:
        try:
            sockets = bind(host, port)
        except OSError as error:
            if len(ports) > 1:
                continue
            raise OptionError(f"port {port} of {host} cannot be used: give another --port.") from error
        return sockets, page_address(sockets, host)
    raise OptionError(f"no port from {FIRST_PORT} on is free on {host}: give another --port.")
