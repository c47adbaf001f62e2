"""The server of the page; its files and processes are removed when it ends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import OptionError
from .jobs import Jobs
from .tasks import run_task
from .uploads import MB, UploadLimits, Uploads
from .worker import RunTask

if TYPE_CHECKING:
    import gradio as gr

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FIRST_PORT, PORTS = 7860, 100


@dataclass(frozen=True)
class Settings:
    """Address and limits. `port` None selects the first free port from FIRST_PORT on."""

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

    def __post_init__(self) -> None:
        limits = (
            ("port", 1, 65535),
            ("max_upload_mb", 1, 100_000),
            ("max_session_mb", 1, 1_000_000),
            ("max_total_mb", 1, 10_000_000),
            ("max_megapixels", 0.1, 170),
            ("max_seconds", 1, 86400),
            ("max_queue", 1, 1000),
            ("max_job_minutes", 0.1, 10_000),
        )
        for name, low, high in limits:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionError(f"--{name.replace('_', '-')} {value:g} is out of range: give {low} … {high}.")


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
        self.backend = Backend(uploads, jobs)
        try:
            self.page = build(self.backend)
            uploads.retain_all("server")
            self.url = _launch(self.page, settings)
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


def _launch(page: gr.Blocks, settings: Settings) -> str:
    from .theme import CSS, build_theme

    ports = [settings.port] if settings.port else range(FIRST_PORT, FIRST_PORT + PORTS)
    for port in ports:
        try:
            _, url, _ = page.launch(
                server_name=settings.host,
                server_port=port,
                share=False,
                inbrowser=settings.open_browser,
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                max_file_size=int(settings.max_upload_mb * MB),
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=["api"],
                theme=build_theme(),
                css=CSS,
            )
        except OSError as error:
            if len(ports) > 1:
                continue
            raise OptionError(f"port {port} of {settings.host} cannot be used: give another --port.") from error
        return str(url)
    raise OptionError(f"no port from {FIRST_PORT} on is free on {settings.host}: give another --port.")
