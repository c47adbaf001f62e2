"""Server state that all tabs share, and the submission and monitoring of jobs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import gradio as gr

from . import markup
from .jobs import Job, Jobs
from .previews import Previews
from .uploads import Uploads
from .worker import Task

_POLL_S = 0.2


@dataclass(frozen=True)
class Backend:
    """Uploads, jobs and previews of one server."""

    uploads: Uploads
    jobs: Jobs
    previews: Previews

    def end_session(self, request: gr.Request) -> None:
        """Stop the jobs and remove the files of a page that was closed."""
        owner = owner_of(request)
        self.jobs.stop_all(owner)
        self.uploads.release(owner)
        self.previews.drop(owner)

    async def submit(self, make_task: Callable[[], Task], owner: str, kind: str) -> Job:
        """Prepare a task and queue it, both in a thread; on cancellation its files are removed.

        Raises:
            TalkerError: raised by `make_task`, or the queue is full.
        """
        pending = self.jobs.announce(owner, kind)
        try:
            return await asyncio.to_thread(lambda: self.jobs.submit(make_task(), owner, pending))
        except BaseException:  # the thread goes on; its task is removed on submission
            self.jobs.cancel(pending)
            raise

    async def watch(self, job: Job) -> AsyncGenerator[str, None]:
        """Yield the job's progress as HTML, on every change, until it ends. Stop the job if the caller goes away."""
        shown = ""
        try:
            while not job.ended:
                text = markup.progress(job)
                if text and text != shown:
                    shown = text
                    yield text
                await asyncio.sleep(_POLL_S)
        except BaseException:
            self.jobs.discard(job)
            raise


def owner_of(request: gr.Request | None) -> str:
    """Return the ID of the session of a request: the owner of its files and jobs."""
    return str(getattr(request, "session_hash", None) or secrets.token_hex(8))
