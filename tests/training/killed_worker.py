"""An extractor whose process is killed once, in the middle of a job: for the cluster tests."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from liveportrait_talker.training.extractor import ExtractJob, Extractor
from liveportrait_talker.training.video_jobs import VideoOutcome


@dataclass(frozen=True)
class KilledExtractor:
    """Kills its process at the first of the jobs `at`, and creates `marker`."""

    marker: Path
    at: tuple[str, ...]
    always: bool = False

    def __call__(self, job: ExtractJob) -> VideoOutcome:
        from test_extract import STAMP, cheap

        def seen(extractor, aligned, faces):
            if job.key in self.at and (self.always or not self.marker.exists()):
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return cheap(extractor, aligned, faces)

        Extractor._run_networks, Extractor.stamp = seen, STAMP
        return Extractor("cpu", 4, 0)(job)
