"""`dataset download`: failures are counted by reason, and kills do not change the resulting files."""

from __future__ import annotations

import argparse
import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest
from training_videos import hosting, numbers, text, write_metadata, write_video

pytest.importorskip("yt_dlp")

from liveportrait_talker.cli.training import add_training_parsers
from liveportrait_talker.errors import EndedEarly, MediaError, OptionError
from liveportrait_talker.system import journal
from liveportrait_talker.training import download as module
from liveportrait_talker.training.download import DownloadOptions, download, fetch_and_cut
from liveportrait_talker.training.fetch import FetchPolicy
from liveportrait_talker.training.metadata import split_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    return {
        25: write_video(folder / "25.mp4", frames=100).read_bytes(),
        30: write_video(folder / "30.mp4", fps=30, frames=120).read_bytes(),
        0: write_video(folder / "long.mp4", frames=500).read_bytes(),
    }


@pytest.fixture
def host():
    with hosting() as host:
        yield host


def options(host, **more):
    policy = FetchPolicy(address_template=host.template, attempts=2, first_pause=0.01, timeout=5)
    return DownloadOptions(policy=policy, **more)


def rows(dataset):
    return {row["key"]: row for row in map(json.loads, (dataset / "download.jsonl").read_text().splitlines())}


def files_in(dataset):
    """Every file but the journal, whose order is that of the run."""
    return {
        str(path.relative_to(dataset)): path.read_bytes()
        for path in sorted(dataset.rglob("*"))
        if path.is_file() and "journal" not in path.name
    }


def test_failures_are_counted_and_the_rest_is_cut(host, files, tmp_path):
    host.answers |= {
        "ok25": files[25],
        "ok30": files[30],
        "gone": 410,
        "busy": lambda n: 429 if n == 0 else files[25],
        "down": 503,
        "half": files[0][: len(files[0]) // 2],
        "reset": lambda n: ("reset", files[25]) if n == 1 else files[25],
    }
    tree = {
        "id1/ok25": {
            "00001": (3, 40),
            "00002": (30, 99),
            "00003": text(3, 9).replace("000005", "000009", 1),
            "00004": "",
        },
        "id1/missing": {"00001": (0, 9)},
        "id2/ok30": {"00001": (10, 50)},
        "id2/gone": {"00001": (0, 9), "00002": (5, 9)},
        "id3/busy": {"00001": (0, 9)},
        "id3/down": {"00001": (0, 9)},
        "id4/half": {"00001": (0, 30), "00002": (480, 499)},
        "id4/reset": {"00001": (50, 60)},
    }
    root, dataset = write_metadata(tmp_path / "txt", tree), tmp_path / "data"
    (root / "stray.csv").touch()
    told = []
    report = download(root, dataset, options(host), on_progress=lambda *step: told.append(step))
    assert report.videos == {"done": 5, "failed": 2, "later": 1} and report.worked_on == 8
    assert report.utterances == {"done": 6, "failed": 6, "later": 1}
    assert report.reasons == {
        "gone (410)": 2,
        "wrong metadata": 2,
        "not found (404)": 1,
        "the server refused (503)": 1,
        "the video is too short": 1,
    }
    assert told[0] == ("download", 0, 8) and told[-1] == ("download", 8, 8)
    assert "frame 9 follows frame 4" in str(report) and "id3/down/00001: the server refused (503)" in str(report)
    assert report.notes == (f"{root / 'stray.csv'} is skipped: a folder is expected.",)
    clips = dataset / "clips"
    assert numbers(clips / "id1/ok25/00001.mp4") == list(range(3, 41))
    assert numbers(clips / "id2/ok30/00001.mp4") == [k * 30 // 25 for k in range(10, 51)]
    assert numbers(clips / "id4/half/00001.mp4") == list(range(31))
    assert len(list(clips.rglob("*.mp4"))) == 6 and not (clips / "id2/gone").exists()
    assert not (dataset / ".work").exists()
    found = rows(dataset)
    assert list(found) == sorted(found) and len(found) == 13
    assert found["id1/ok25/00002"] == {
        "key": "id1/ok25/00002",
        "status": "done",
        "reason": None,
        "frames": 70,
        "seconds": 2.8,
        "split": split_of("id1", 0, 0.05),
    }

    # The next run asks only for what may have passed; with retry_failed for the rest, too.
    host.asked.clear()
    host.answers["down"] = files[25]
    report = download(root, dataset, options(host))
    assert set(host.asked) == {"down"} and report.utterances == {"done": 7, "failed": 6}
    host.asked.clear()
    host.answers |= {"gone": files[25], "ok25": 404}
    report = download(root, dataset, options(host, retry_failed=True))
    assert set(host.asked) == {"missing", "gone", "half"}  # of ok25 only wrong text files are left
    assert report.utterances == {"done": 9, "failed": 4}
    assert (clips / "id1/ok25/00001.mp4").exists()


def test_finished_clips_stay_when_a_video_is_removed(host, files, tmp_path):
    host.answers["v"] = files[25]
    root, dataset = write_metadata(tmp_path / "txt", {"a/v": {"1": (0, 9), "2": (90, 120)}}), tmp_path / "data"
    assert download(root, dataset, options(host)).utterances == {"done": 1, "failed": 1}
    host.answers["v"] = 404
    write_metadata(root, {"a/v": {"3": (0, 4)}})  # a new one joins
    report = download(root, dataset, options(host, retry_failed=True))
    assert report.utterances == {"done": 1, "failed": 2} and report.videos == {"done": 1}
    host.answers["v"] = files[25]
    (dataset / "clips/a/v/1.mp4").unlink()
    report = download(root, dataset, options(host, retry_failed=True))
    assert report.utterances == {"done": 2, "failed": 1} and (dataset / "clips/a/v/1.mp4").exists()


def test_a_full_disk_ends_the_run_and_the_next_resumes(host, files, tmp_path, monkeypatch):
    """ENOSPC is raised where a clip is renamed, after the first one; the fetch's and the cut's own tests have real limits."""
    host.answers |= {f"v{n}": files[25] for n in range(4)}
    root = write_metadata(tmp_path / "txt", {f"a/v{n}": {"1": (0, 9)} for n in range(4)})
    dataset, path = tmp_path / "data", type(tmp_path)
    rename, count = path.replace, [0]

    def full(self, target):
        count[0] += str(target).endswith(".mp4")
        if count[0] > 1:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(path, "replace", full)
        with pytest.raises(EndedEarly, match="the disk is full: free some space and run the same command again") as end:
            download(root, dataset, options(host, parallel=1))
    assert end.value.report.reasons == {"the disk is full": 1} and end.value.report.utterances == {"done": 1}
    assert end.value.report.failures == (("a/v1", "the disk is full"),)
    assert len(journal.read_entries(dataset / "download.journal")) == 1
    assert not (dataset / "download.jsonl").exists() and not (dataset / ".work").exists()
    host.asked.clear()
    assert download(root, dataset, options(host)).utterances == {"done": 4}
    assert "v0" not in host.asked


def test_jobs_are_picklable_and_the_runner_is_replaceable(host, files, tmp_path):
    host.answers |= {"v": files[25], "w": files[25]}
    root = write_metadata(tmp_path / "txt", {"a/v": {"1": (0, 9)}, "b/w": {"1": (0, 9)}})

    def run(function, jobs: Iterable) -> Iterator:
        for job in reversed(list(jobs)):
            yield pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(job)))))

    report = download(root, tmp_path / "data", options(host), run=run)
    assert report.utterances == {"done": 2} and fetch_and_cut.__module__ == module.__name__


def test_an_odd_video_does_not_end_the_run(host, files, tmp_path, monkeypatch):
    host.answers["v"] = files[25]
    monkeypatch.setattr("liveportrait_talker.training.cut.read_timeline", lambda *_: 1 / 0)
    root = write_metadata(tmp_path / "txt", {"a/v": {"1": (0, 9)}})
    report = download(root, tmp_path / "data", options(host))
    assert report.reasons == {"something went wrong": 1} and report.videos == {"later": 1}


def test_a_limit_a_dry_run_and_no_metadata(host, tmp_path):
    root = write_metadata(tmp_path / "txt", {f"a/v{n}": {"1": (0, 24), "2": ""} for n in range(5)})
    dataset = tmp_path / "data"
    policy = FetchPolicy(address_template=host.template, rate_limit=1e5)
    report = download(root, dataset, DownloadOptions(policy=policy, dry_run=True, limit=3))
    plan = report.estimate
    assert (plan.videos, plan.utterances, plan.unreadable, plan.hours) == (3, 3, 3, 3 / 3600)
    assert plan.fetched_bytes == 3 * 61 * 200_000 and plan.fetching_hours == pytest.approx(3 * 61 * 2 / 3600)
    assert "would fetch 3 videos" in str(report) and "3 text files are invalid" in str(report)
    assert not dataset.exists() and not host.asked
    assert download(root, dataset, options(host, limit=2)).videos == {"failed": 2}
    with pytest.raises(MediaError, match="no <speaker>"):
        download(dataset, dataset)


def test_two_runs_do_not_share_a_data_set(host, tmp_path):
    root = write_metadata(tmp_path / "txt", {"a/v": {"1": (0, 9)}})
    with journal.Journal(tmp_path / "data" / "download.journal"), pytest.raises(MediaError, match="another run"):
        download(root, tmp_path / "data", options(host))


@pytest.mark.parametrize("wrong", [{"parallel": 0}, {"parallel": 17}, {"limit": 0}, {"val_share": 1}, {"seed": -1}])
def test_senseless_options_are_refused(wrong):
    with pytest.raises(OptionError, match="out of range"):
        DownloadOptions(**wrong)


def command(*arguments):
    parser = argparse.ArgumentParser()
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true")
    add_training_parsers(parser.add_subparsers(), common)
    given = parser.parse_args(["dataset", "download", *map(str, arguments)])
    return given.run(given)


def test_the_command_counts_failures_and_succeeds(host, files, tmp_path, capsys):
    host.answers["v"] = files[25]
    root = write_metadata(tmp_path / "txt", {"a/v": {"1": (0, 9)}, "a/w": {"1": (0, 9)}})
    flags = ["--address-template", host.template, "--parallel", 1, "--rate-limit", 5, "--max-size", 50]
    code = command(root, tmp_path / "data", *flags, "--json")
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["utterances"] == {"done": 1, "failed": 1} and said["failures"] == [["a/w/1", "not found (404)"]]
    assert command(root, tmp_path / "data", *flags) == 0
    assert "a/w/1: not found (404)" in capsys.readouterr().out
    with pytest.raises(OptionError):
        command(root, tmp_path / "data", "--parallel", 99)


def started(host, root, dataset):
    """The download in a process of its own."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom liveportrait_talker.training.download import *\n"
        "from liveportrait_talker.training.fetch import FetchPolicy\n"
        "policy = FetchPolicy(address_template=sys.argv[1], attempts=2, first_pause=0.01)\n"
        "download(Path(sys.argv[2]), Path(sys.argv[3]), DownloadOptions(policy=policy))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, host.template, str(root), str(dataset)], stderr=subprocess.PIPE
    )


def test_ctrl_c_stops_promptly_and_cleans_up(host, files, tmp_path):
    host.answers["v"] = ("slow", files[0] * 20)  # for a minute
    root, dataset = write_metadata(tmp_path / "txt", {"a/v": {"1": (0, 9)}}), tmp_path / "data"
    run = started(host, root, dataset)
    until = time.monotonic() + 20
    while not list(dataset.glob(".work/*/source*")) and time.monotonic() < until:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=10) and b"KeyboardInterrupt" in run.stderr.read()
    run.stderr.close()
    assert sorted(path.name for path in dataset.iterdir()) == [".download.journal.lock", "download.journal"]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_files(host, files, tmp_path):
    host.answers |= {f"v{n}": ("slow", files[(25, 30)[n % 2]]) for n in range(4)}
    host.answers["none"] = 404
    tree = {f"id{n % 3}/v{n}": {"1": (0, 40), "2": (30, 80), "3": (70 + n, 96 + n)} for n in range(4)}
    root = write_metadata(tmp_path / "txt", {**tree, "id9/none": {"1": (0, 9)}, "id9/v0": {"1": ""}})

    def start(dataset):
        return started(host, root, dataset)

    began = time.monotonic()
    calm = start(tmp_path / "calm")
    assert calm.wait() == 0, calm.stderr.read()
    whole = time.monotonic() - began
    wanted = files_in(tmp_path / "calm")
    assert len(wanted) > 10

    chance = random.Random(0)
    killed = 0
    for attempt in range(10):
        began = time.monotonic()
        run = start(tmp_path / "killed")
        try:
            # Never before anything can have happened, and often in the middle of it.
            run.wait(chance.uniform(0.3, 0.8) * whole)
            whole = min(whole, time.monotonic() - began)  # the first run was slowed down
            shutil.rmtree(tmp_path / "killed")  # it was through: the next kill is to meet a run that has work
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            killed += 1
            assert run.wait() == -signal.SIGKILL, attempt
        if killed and attempt == 5:  # later kills meet the run elsewhere
            with suppress(FileNotFoundError):
                (tmp_path / "killed" / "download.journal").write_bytes(b"")
        run.stderr.close()
    last = start(tmp_path / "killed")
    assert last.wait() == 0, last.stderr.read()
    last.stderr.close()
    calm.stderr.close()
    print(f"{killed} of 10 killed; a whole run takes {whole:.2f} s")
    assert killed >= 4
    assert files_in(tmp_path / "killed") == wanted


def test_clips_are_not_written_through_links(host, tmp_path):
    root = write_metadata(tmp_path / "txt", {"a/v": {"1": (0, 9)}})
    dataset, outside = tmp_path / "data", tmp_path / "outside"
    outside.mkdir()
    (dataset / "clips").mkdir(parents=True)
    (dataset / "clips" / "a").symlink_to(outside)
    with pytest.raises(MediaError, match="is behind a link that leaves"):
        download(root, dataset, options(host))
    assert not list(outside.iterdir()) and not host.asked
