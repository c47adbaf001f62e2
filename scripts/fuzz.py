"""Damage valid files at random and read them: no crash, no hang, no gigabytes, no error but a sentence.

    python scripts/fuzz.py [--seconds 600] [--seed 0] [--keep FOLDER] [KIND …]

Kinds: pictures, videos, sounds, templates, journals, batch files, keyframes; all by default, one after the other. The
files that failed are kept in FOLDER. Exit status 1 where any did.
"""

from __future__ import annotations

import argparse
import logging
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
CASES = 400
"""Files for each child process."""
MAX_SECONDS, MAX_MB = 15.0, 1000.0
"""For one file."""
START_SECONDS = 120.0
"""For imports and samples."""


def main() -> int:
    """Fuzz some kinds and print what failed."""
    from fuzzed import READERS

    parser = argparse.ArgumentParser(description="Read damaged files.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(READERS))
    parser.add_argument("--seconds", type=float, default=600, metavar="N", help="for each kind (default 600)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), metavar="FOLDER")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.kinds) - set(READERS)):
        parser.error(f"there is no kind {unknown[0]!r}")
    if arguments.child:
        read_cases(arguments.kinds[0], arguments.seed, arguments.keep)
        return 0
    failures = 0
    for kind in arguments.kinds or READERS:
        failures += fuzz(kind, arguments.seconds, arguments.seed, arguments.keep)
    return 1 if failures else 0


def fuzz(kind: str, seconds: float, seed: int, keep: Path) -> int:
    """Read damaged files of a kind for a while; return how many failed."""
    end, cases, failures = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        command = [sys.executable, __file__, kind, "--child", "--seed", str(seed), "--keep", str(keep)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        last, alive = "no file", True
        watch = threading.Timer(START_SECONDS, child.kill)
        watch.start()
        for line in child.stdout:
            watch.cancel()
            if line.startswith("FAILED"):
                print(f"{kind}: {line.strip()}", flush=True)
                failures += 1
            elif line == "end\n":
                alive = False
            else:
                last, cases = line.strip(), cases + 1
            watch = threading.Timer(MAX_SECONDS, child.kill)
            watch.start()
        watch.cancel()
        status = child.wait()
        if alive:
            how = "hung" if status == -9 else f"ended with {status}"
            print(f"{kind}: FAILED, the process {how} at {last}", flush=True)
            failures += 1
        seed += 1
    print(f"{kind}: {cases} files in {seconds:.0f} s, {failures} failed", flush=True)
    return failures


def read_cases(kind: str, seed: int, keep: Path) -> None:
    """Read `CASES` damaged files in this process, and print the name of each before, and "end" at the end."""
    from fuzzed import contents, damage, read, write_samples
    from liveportrait_talker.system.limited_process import limit_memory

    logging.disable(logging.CRITICAL)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "samples").mkdir()
        samples = contents(write_samples(kind, folder / "samples"))
        everything = [content for _, content in samples]
        for path_name, content in samples:
            (folder / path_name).write_bytes(content)
            read(kind, folder / path_name)
        base = peak_mb()
        limit_memory()  # as in the child process that the command line and the page use
        for k in range(CASES):
            path_name, content = rng.choice(samples)
            path = folder / path_name
            damaged = damage(content, everything, rng)
            path.write_bytes(damaged)
            kept = keep / f"{kind.replace(' ', '-')}-{seed}-{k}-{path_name}"
            keep.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(damaged)
            print(kept, flush=True)
            try:
                read(kind, path)
            except MemoryError:
                pass
            except BaseException as error:
                traceback.print_exc()
                print(f"FAILED {kept} ({type(error).__name__}: {error})".replace("\n", " "), flush=True)
                continue
            if peak_mb() > base + MAX_MB:
                print(f"FAILED {kept} ({peak_mb() - base:.0f} MB)", flush=True)
                base = peak_mb()
                continue
            kept.unlink()
    print("end", flush=True)


def peak_mb() -> float:
    """Return the most memory that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    sys.exit(main())
