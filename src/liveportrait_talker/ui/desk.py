"""What every tab needs: the uploads, the jobs, and the steps that all of them share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import gradio as gr

from . import view
from .jobs import Jobs, Ticket
from .studio import Studio
from .uploads import Uploads
from .worker import Order

_LOOKS_EVERY_S = 0.2


@dataclass(frozen=True)
class Desk:
    """One server's uploads, jobs and portraits that are being edited."""

    uploads: Uploads
    jobs: Jobs
    studio: Studio = field(default_factory=Studio)

    def leave(self, request: gr.Request) -> None:
        """A page was closed: its jobs stop, its files go."""
        self.jobs.stop_all(owner(request))
        self.uploads.release(owner(request))
        self.studio.leave(owner(request))

    async def hand_in(self, ordered: Callable[[], Order], owner: str, kind: str) -> Ticket:
        """Put an order together and hand it in, both in a thread. Who goes away meanwhile leaves nothing behind.

        Raises TalkerError: what `ordered` raises, or too many wait.
        """
        intent = self.jobs.intend(owner, kind)
        try:
            return await asyncio.to_thread(lambda: self.jobs.submit(ordered(), owner, intent))
        except BaseException:  # the thread goes on, and its order is removed when it comes
            self.jobs.call_off(intent)
            raise

    async def follow(self, ticket: Ticket) -> AsyncGenerator[str, None]:
        """Where the job stands, whenever that changes, until it ends. A page that goes away stops its job."""
        shown = ""
        try:
            while not ticket.ended:
                text = view.progress(ticket)
                if text and text != shown:
                    shown = text
                    yield text
                await asyncio.sleep(_LOOKS_EVERY_S)
        except BaseException:
            self.jobs.abandon(ticket)
            raise


def owner(request: gr.Request | None) -> str:
    """The session that a request belongs to."""
    return str(getattr(request, "session_hash", None) or secrets.token_hex(8))
