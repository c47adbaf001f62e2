"""The `batch` command: invalid lines, killed runs, resumption."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from liveportrait_talker import MediaError, TalkOptions, WeightsError
from liveportrait_talker.batch import jobs as batch_jobs
from liveportrait_talker.batch.jobs import read_jobs
from liveportrait_talker.batch.run import JOURNAL, BatchInterrupted, run_batch
from liveportrait_talker.batch.work import (
    DONE,
    EXISTING,
    FAILED,
    NOT_REACHED,
    PLANNED,
    RenderJob,
    render_job,
    run_sequentially,
)
from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.pipelines import talk as pipeline
from liveportrait_talker.pipelines.engines import Engines
from liveportrait_talker.pipelines.media_check import MediaChecks
from sounds import syllables, write_wav

SMALL = {"max_size": 256}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a portrait and two short voices; the working directory is another."""
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "face.png").symlink_to(PORTRAIT)
    for name in ("a", "b"):
        write_wav(folder / f"{name}.wav", syllables(0.2))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def listed(place: Path, *jobs: dict | str, name: str = "jobs.jsonl") -> Path:
    """A jobs file; a dict is completed by defaults."""
    path = place / name
    lines = [
        j if isinstance(j, str) else json.dumps({"source": "face.png", "voice": "a.wav"} | SMALL | j) for j in jobs
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def run(capsys, jobs: Path, *words: object) -> tuple[int, dict]:
    """Exit code and report of the real command."""
    code = main(["batch", str(jobs), "--quiet", "--json", *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


def states(report: dict) -> list[str]:
    return [job["state"] for job in report["jobs"]]


def reasons(report: dict) -> dict[int, str]:
    return {job["line"]: job["reason"] for job in report["jobs"] if job["state"] == FAILED}


def frames_of(path: Path) -> int:
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


@pytest.fixture
def nothing_renders(monkeypatch) -> None:
    def save(*given, **named):
        raise AssertionError("no work was expected")

    monkeypatch.setattr(pipeline.Talker, "save", save)


def test_jsonl_jobs_become_videos(place, capsys, monkeypatch):
    first = iter([True])
    monkeypatch.setattr("liveportrait_talker.pipelines.engines.is_first_time", lambda _: next(first, False))
    jobs = listed(
        place,
        {},
        "",
        {"out": "deep/er/two.mp4", "id": "second", "head-pose": "still", "blink": False, "yaw": [0, 8, 0]},
        {"voice": "b.wav", "seed": 3.0, "crop": True, "ref_blink": None},
        {"seed": 2},
    )
    assert main(["batch", str(jobs), "--out", "videos", "--report", "all.json"]) == 0
    printed = capsys.readouterr()
    assert "failed" not in printed.err
    rows = printed.out.splitlines()
    assert len(rows) == 5 and all(row.startswith("done ") and "5 frames" in row for row in rows[:4])
    assert rows[1].split()[1] == "second" and rows[4].startswith("4 made, 20 frames in ")
    assert printed.err.count("drawn by the embedded renderer") == 1, "said once for all jobs"
    videos = Path("videos").absolute()
    made = {str(p.relative_to(videos)) for p in videos.rglob("*.mp4")}
    assert made == {"face_a.mp4", "deep/er/two.mp4", "face_b.mp4", "face_a_2.mp4"}
    assert all(frames_of(videos / name) == 5 for name in made)
    report = json.loads(Path("all.json").read_text())
    assert (report["done"], report["failed"], report["frames"], report["stopped"]) == (4, 0, 20, False)
    assert [(j["line"], j["id"]) for j in report["jobs"]][:2] == [(1, "line 1"), (3, "second")]
    assert report["jobs"][0]["out"] == str(videos / "face_a.mp4")
    assert not [p for p in videos.rglob("*") if ".part." in p.name]


def test_jobs_of_the_previous_release_keep_their_keys(place):
    """Negated options have new names: a batch that was begun under the old ones resumes."""
    keys = set()
    for name, value in (("no_crop", True), ("crop_to_face", False)):
        path = place / f"{name}.jsonl"
        path.write_text(json.dumps({"source": "face.png", "voice": "a.wav", "out": "x.mp4", name: value}))
        (job,) = read_jobs(path, place / "videos")
        keys.add(job.key)
    chosen = {"no_crop": "True"}  # as the previous release wrote it
    files = [
        [os.path.realpath(p), p.stat().st_size, p.stat().st_mtime_ns] for p in (place / "face.png", place / "a.wav")
    ]
    text = json.dumps([files, chosen, os.path.realpath(place / "videos" / "x.mp4")], sort_keys=True)
    assert keys == {hashlib.sha256(text.encode()).hexdigest()}


def test_several_files_in_a_column(place):
    for name in ("one.png", "two.mp4"):
        (place / name).write_bytes(b"x")
    table = place / "mouths.csv"
    table.write_text("source,voice,out,mouth_from\nface.png,a.wav,x.mp4,one.png; two.mp4\nface.png,a.wav,y.mp4,\n")
    jobs = listed(
        place, {"mouth_from": ["one.png", "two.mp4"]}, {"mouth_from": "one.png"}, {"mouth_from": ["one.png", 3]}
    )
    both, none = read_jobs(table, place / "videos")
    listed_both, one, wrong = read_jobs(jobs, place / "videos")
    files = (place / "one.png", place / "two.mp4")
    assert both.options.mouth_from == listed_both.options.mouth_from == files == tuple(both.inputs[2:])
    assert one.options.mouth_from == files[:1] and none.options.mouth_from == ()
    assert wrong.state == FAILED and wrong.reason == "mouth_from must be the name of a file: it is 3."
    os.utime(files[1], (1, 1))
    assert read_jobs(table, place / "videos")[0].key != both.key
    files[1].unlink()
    assert "two.mp4 does not exist" in read_jobs(table, place / "videos")[0].reason


def test_csv_jobs_become_videos(place, capsys):
    path = place / "jobs.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["Source", "voice", "out", "no-crop", "Yaw", "seed", "max_size", "head_motion", "gaze", ""])
        table.writerow(["face.png", "a.wav", "", "TRUE", "0 4 -2.5", "7", "256", "0.5", "still", ""])
        table.writerow([""] * 10)
        table.writerow(["face.png", "b.wav", "b; of\nb.mp4", "false", "", "", "256"])
        table.writerow(["face.png", "b.wav", "c.mp4", "perhaps", "", "", "256"])
        table.writerow(["face.png", "b.wav", "d.mp4", "", "left", "", "256"])
        table.writerow(["face.png", "b.wav", "e.mp4", "", "", "1.5", "256"])
        table.writerow(["face.png", "b.wav", "f.mp4", "", "", "", "256", "", "", "", "one more"])
    found = read_jobs(path, Path("videos"))
    jobs = [job for job in found if isinstance(job, RenderJob)]
    assert [(job.line, job.out.name) for job in jobs] == [(2, "face_a.mp4"), (4, "b; of\nb.mp4")]
    assert jobs[0].options == TalkOptions(
        crop_to_face=False, yaw=(0, 4, -2.5), seed=7, max_size=256, head_motion=0.5, gaze="still"
    )
    assert jobs[1].options == TalkOptions(max_size=256)
    code, report = run(capsys, path)
    assert code == 1 and states(report) == [DONE, DONE, FAILED, FAILED, FAILED, FAILED]
    assert reasons(report) == {
        6: "no_crop must be true or false: it is 'perhaps'.",
        7: "yaw must be a number of degrees, or several: it is 'left'.",
        8: "seed must be a whole number: it is '1.5'.",
        9: "more cells than columns; a cell with a comma in it needs quotes",
    }
    assert Path("outputs/face_a.mp4").is_file(), "the default folder"


def test_invalid_lines_are_reported_and_stop_no_other(place, capsys):
    Image.fromarray(np.full((200, 200, 3), 128, np.uint8)).save(place / "grey.png")
    (place / "noise.wav").write_bytes(b"no sound at all" * 100)
    (place / "empty.wav").touch()
    wrong = {
        1: ({"source": "none.png"}, "none.png does not exist"),
        2: ({"voice": "empty.wav"}, "empty.wav is empty"),
        3: ({"fps": 1e9}, "--fps 1000000000.0 is out of range"),
        4: ({"still": True, "head_pose": "audio"}, "contradict each other"),
        5: ({"headpose": "still"}, "'headpose' is not known; did you mean head_pose?"),
        6: ({"still": "yes"}, "still must be true or false: it is 'yes'"),
        7: ({"seed": True}, "seed must be a whole number"),
        8: ({"yaw": [1, "2"]}, "yaw must be a number of degrees"),
        9: ({"source": "grey.png"}, "no face"),
        10: ({"voice": "noise.wav"}, "noise.wav is not a picture, video or audio file"),
        11: ({"out": "same.mp4", "id": 1}, ""),
        12: ({"out": "./sub/../SAME.mp4"}, "out ./sub/../SAME.mp4 is used by line 11 already"),
        13: ({"id": "1"}, "id 1 is used by line 11 already"),
        14: ("{", "not JSON"),
        15: ('["face.png", "a.wav"]', "not a JSON object"),
        16: ('{"source": "face.png", "source": "a.png", "voice": "a.wav"}', "source is given twice"),
        17: ('{"source": "face.png", "voice": null}', "voice is missing"),
        18: ({"voice": 3}, "voice must be the name of a file: it is 3"),
        19: ({"source": "face\0.png"}, "characters that file names cannot have"),
        20: ({"source": "x" * 5000}, "cannot be opened"),
        21: ("[" * 60_000, "not JSON"),
        22: ({"gaze": "x" * 70_000}, "longer than 64 KB"),
        23: ({"ref_head_pose": "none.mp4"}, "none.mp4 does not exist"),
        24: ({"out": "film.avi"}, "must end in .mp4"),
        25: ({"gaze": "a\x1b[31m\nb"}, "�[31m�b is not known"),
        26: ({"yaw": 10**400}, "yaw must be a number of degrees"),
        27: ({"voice": "b.wav"}, ""),
    }
    code, report = run(capsys, listed(place, *(job for job, _ in wrong.values())), "--out", "videos")
    assert code == 1
    found = reasons(report)
    for line, (_, sentence) in wrong.items():
        assert (sentence.lower() in found[line].lower()) if sentence else (line not in found), (line, found.get(line))
    assert (report["done"], report["failed"]) == (2, 25)
    assert sorted(p.name for p in Path("videos").glob("*.mp4")) == ["face_b.mp4", "same.mp4"]
    assert all(len(reason) < 700 and reason.isprintable() for reason in found.values())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("jobs.jsonl", None, "cannot be read"),
        ("jobs.txt", b"{}", "must end in .jsonl"),
        ("jobs.jsonl", b" \n\n", "has no jobs"),
        ("jobs.csv", b"", "has no jobs"),
        ("jobs.csv", b"source,voice\n", "has no jobs"),
        ("jobs.csv", b"source,out\n1,2\n", "lacks voice"),
        ("jobs.csv", b"source,voice,sound\n1,2,3\n", "'sound' is not known"),
        ("jobs.csv", b"source,voice,no-crop,no_crop\n1,2,,\n", "has no_crop twice"),
        ("jobs.csv", '"source",voice\n'.encode("utf-16"), "not UTF-8"),
        ("jobs.jsonl", b"{}\n" * 11, "has 11 jobs, the limit is 10"),
        ("jobs.jsonl", b"x" * 1001, "larger than"),
    ],
)
def test_an_invalid_jobs_file_is_refused(place, capsys, monkeypatch, name, content, words):
    monkeypatch.setattr(batch_jobs, "MAX_JOBS", 10)
    monkeypatch.setattr(batch_jobs, "MAX_BYTES", 1000)
    if content is not None:
        (place / name).write_bytes(content)
    assert main(["batch", str(place / name)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith("error: ") and words in errors[0]
    assert not os.listdir(), "nothing is written"


def test_an_unclosed_quote_affects_no_valid_line(place):
    path = place / "jobs.csv"
    path.write_text('source,voice\nface.png,a.wav\n"face".png,a.wav\nface.png,b.wav\n"face.png,a.wav\n')
    found = read_jobs(path, Path("videos"))
    assert [(one.line, isinstance(one, RenderJob)) for one in found] == [(2, True), (3, False), (4, True), (5, False)]


def test_transparent_videos(place, capsys):
    jobs = listed(
        place,
        {"background": "transparent"},
        {"background": "transparent", "out": "cut.mov"},
        {"background": "transparent", "out": "cut.mp4"},
        {"background": "transparent", "out": "cut_%05d.png"},
    )
    code, report = run(capsys, jobs, "--out", place / "videos")
    assert code == 1 and states(report) == [DONE, DONE, FAILED, FAILED]
    assert "to be transparent" in report["jobs"][2]["reason"] and "in a batch" in report["jobs"][3]["reason"]
    assert sorted(p.name for p in (place / "videos").iterdir() if p.suffix in (".webm", ".mov")) == [
        "cut.mov",
        "face_a.webm",
    ]
    assert states(run(capsys, jobs, "--out", place / "videos")[1])[:2] == [EXISTING, EXISTING]


def test_generated_names_are_deterministic_and_requested_ones_take_precedence(place):
    (place / "FACE.png").symlink_to(PORTRAIT)
    jobs = listed(place, {}, {}, {"source": "FACE.png"}, {"out": "face_a_2.mp4"}, {"fps": -1}, {"fps": 5})
    found = read_jobs(jobs, Path("videos"))
    names = [one.out.name for one in found if isinstance(one, RenderJob)]
    assert names == ["face_a.mp4", "face_a_3.mp4", "FACE_a_4.mp4", "face_a_2.mp4", "face_a_6.mp4"]
    assert [one.line for one in found if not isinstance(one, RenderJob)] == [5], "an invalid line keeps its name"
    assert read_jobs(jobs, Path("videos")) == found


@pytest.mark.parametrize("out", ["../x.mp4", "a/../../x.mp4", "..", ".", "a/..", ""])
def test_a_video_does_not_leave_the_folder(place, capsys, out):
    code, report = run(capsys, listed(place, {"out": out}), "--out", "videos", "--dry-run")
    assert code == 1 and ("leaves the folder" in reasons(report)[1] or not out)


def test_an_absolute_out_may_be_outside_the_folder(place, capsys, tmp_path):
    jobs = listed(place, {"out": str(tmp_path / "far.mp4")}, {"out": str(tmp_path / "no" / "far.mp4")})
    code, report = run(capsys, jobs, "--out", "videos")
    assert (code, states(report)) == (1, [DONE, FAILED]) and "does not exist" in reasons(report)[2]
    assert (tmp_path / "far.mp4").is_file() and not (tmp_path / "no").exists()


def test_a_dry_run_writes_nothing(place, capsys, nothing_renders):
    code, report = run(capsys, listed(place, {}, {"seed": -1}, {}), "--out", "videos/deep", "--dry-run")
    assert (code, states(report)) == (1, [PLANNED, FAILED, PLANNED])
    assert report["jobs"][2]["out"] == str(Path("videos/deep/face_a_3.mp4").absolute())
    assert not os.listdir()
    assert main(["batch", str(listed(place, {})), "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("to do  ") and not os.listdir()


def test_finished_jobs_are_skipped(place, capsys, request):
    jobs = listed(place, {}, {"voice": "b.wav"})
    assert run(capsys, jobs)[0] == 0
    before = Path("outputs/face_a.mp4").stat()
    Path("outputs/face_b.mp4").unlink()
    code, report = run(capsys, jobs, "--overwrite")
    assert (code, states(report)) == (0, [EXISTING, DONE]) and report["jobs"][0]["frames"] == report["frames"] == 5
    assert Path("outputs/face_a.mp4").stat() == before
    request.getfixturevalue("nothing_renders")
    assert states(run(capsys, jobs)[1]) == states(run(capsys, jobs, "--dry-run")[1]) == [EXISTING, EXISTING]
    listed(place, {"seed": 1}, {"voice": "b.wav"})
    code, report = run(capsys, jobs)
    assert (code, states(report)) == (1, [FAILED, EXISTING]) and "--overwrite" in reasons(report)[1]
    os.utime(place / "b.wav", (1, 1))
    assert states(run(capsys, jobs)[1]) == [FAILED, FAILED], "another voice is another job"


def test_a_video_replaced_by_another_job_is_made_again(place, capsys):
    first, second = (listed(place, {"seed": seed}, name=f"{seed}.jsonl") for seed in (1, 2))
    assert states(run(capsys, first)[1]) == states(run(capsys, second, "--overwrite")[1]) == [DONE]
    assert states(run(capsys, first)[1]) == [FAILED] and states(run(capsys, second)[1]) == [EXISTING]
    assert states(run(capsys, first, "--overwrite")[1]) == [DONE] and states(run(capsys, second)[1]) == [FAILED]


def test_permanent_failures_are_retried_only_after_a_change_or_on_request(place, capsys, monkeypatch):
    (place / "a.wav").write_bytes(b"no sound at all" * 100)
    jobs = listed(place, {})
    assert states(run(capsys, jobs)[1]) == [FAILED]
    tried = []
    check = MediaChecks.check

    def counted(*given, **named):
        tried.append(named)
        return check(*given, **named)

    monkeypatch.setattr(MediaChecks, "check", counted)
    code, report = run(capsys, jobs)
    assert code == 1 and not tried
    assert "not a picture, video or audio file" in reasons(report)[1] and "--retry-failed" in reasons(report)[1]
    assert run(capsys, jobs, "--retry-failed")[0] == 1 and len(tried) == 1
    write_wav(place / "a.wav", syllables(0.2))
    assert run(capsys, jobs)[0] == 0 and len(tried) == 2


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (MediaError("the voice is bad"), False),
        (WeightsError("weights are missing"), True),
        (RuntimeError("CUDA out of memory"), True),
        (MemoryError(), True),
        (OSError(28, "No space left on device"), True),
    ],
)
def test_temporary_failures_are_retried(place, capsys, monkeypatch, error, again):
    tried = []

    def save(*given, **named):
        tried.append(given)
        if isinstance(error, OSError) and len(tried) > 1:
            raise MediaError("the disk is full") from error
        raise error

    monkeypatch.setattr(pipeline.Talker, "save", save)
    jobs = listed(place, {}, {"voice": "b.wav"})
    for _ in range(2):
        code, report = run(capsys, jobs)
        assert (code, states(report)) == (1, [FAILED, FAILED])
    assert len(tried) == (4 if again else 2), "one failure stops no other job"
    assert bool(report["jobs"][0]["trace"]) == isinstance(error, (RuntimeError, MemoryError))


def test_networks_are_loaded_once(place, capsys, monkeypatch):
    made, loaded = [], []

    class Counted(Engines):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            made.append(self)
            self.sets = {}

        def renderer(self, choice, options, settings=None, **more):
            if options.device not in self.sets:
                loaded.append(options.device)
                self.sets = {options.device: super().renderer(choice, options, settings, **more)}  # one set in memory
            return self.sets[options.device]

    monkeypatch.setattr(pipeline, "Engines", Counted)
    jobs = listed(place, {}, {"device": "cpu"}, {"seed": 1}, {"device": "cpu", "seed": 2})
    code, report = run(capsys, jobs)
    assert code == 0 and [job["line"] for job in report["jobs"]] == [1, 2, 3, 4]
    assert len(made) == 1 and loaded == ["auto", "cpu"], "those with one set of networks follow each other"


def test_an_interrupted_run_reports_its_count_and_is_resumed(place, capsys, monkeypatch):
    jobs = listed(place, {}, {"voice": "b.wav"}, {"seed": 1})
    save = pipeline.Talker.save

    def stopped(self, source, voice, *given, **named):
        if voice.name == "b.wav":
            raise KeyboardInterrupt
        return save(self, source, voice, *given, **named)

    monkeypatch.setattr(pipeline.Talker, "save", stopped)
    assert main(["batch", str(jobs), "--report", "r.json"]) == 130
    assert "stopped: 1 of 3 videos are finished; the same command resumes." in capsys.readouterr().err
    report = json.loads(Path("r.json").read_text())
    assert report["stopped"] and states(report) == [DONE, NOT_REACHED, NOT_REACHED]
    monkeypatch.setattr(pipeline.Talker, "save", save)
    code, report = run(capsys, jobs)
    assert (code, states(report)) == (0, [EXISTING, DONE, DONE])
    assert not [name for name in os.listdir("outputs") if ".part." in name]


def test_a_kill_between_a_video_and_its_journal_entry_loses_nothing(place, capsys, request):
    jobs = listed(place, {})

    part = Path("outputs/.face_a.0123abcd.part.mp4")

    def killed(given, tell):
        list(run_sequentially(given, tell))
        part.hardlink_to("outputs/face_a.mp4")  # the video has both names for a moment
        raise SystemExit

    with pytest.raises(SystemExit):
        run_batch(jobs, Path("outputs"), run=killed)
    request.getfixturevalue("nothing_renders")
    assert states(run(capsys, jobs)[1]) == [EXISTING] and not part.exists()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_is_finished_by_the_next(place, capsys):
    write_wav(place / "long.wav", syllables(1.2))
    jobs = listed(place, *({"voice": "long.wav", "seed": seed} for seed in range(5)))
    command = [sys.executable, "-m", "liveportrait_talker", "batch", str(jobs), "--quiet"]
    done = Path("outputs/face_long.mp4")
    for attempt in range(3):
        with subprocess.Popen(command) as process:
            began = time.monotonic()
            while not (attempt or done.exists()) and process.poll() is None and time.monotonic() - began < 60:
                time.sleep(0.02)  # the first try gets as far as one video: a later one may be killed while it starts
            time.sleep(random.uniform(0, 2.5))
            process.send_signal(signal.SIGKILL)
        for video in Path("outputs").glob("[!.]*.mp4"):
            assert frames_of(video) == 30, "whole, or not there"
    code, report = run(capsys, jobs)
    assert code == 0 and set(states(report)) <= {DONE, EXISTING} and EXISTING in states(report)
    names = sorted(os.listdir("outputs"))
    assert names == sorted([f".{JOURNAL}.lock", JOURNAL, "face_long.mp4", *(f"face_long_{k}.mp4" for k in range(2, 6))])
    assert all(frames_of(video) == 30 for video in Path("outputs").glob("*.mp4"))


def test_partial_videos_of_a_killed_run_are_removed(place, capsys):
    jobs = listed(place, {"out": "a[1].mp4"})
    parts = [Path("outputs") / name for name in (".a[1].0123abcd.part.mp4", ".a[1].other.part.mp4")]

    def killed(given, tell):
        next(iter(given))
        for part in parts:
            part.touch()
        raise SystemExit
        yield

    with pytest.raises(SystemExit):
        run_batch(jobs, Path("outputs"), run=killed)
    assert states(run(capsys, jobs)[1]) == [DONE]
    assert [part.exists() for part in parts] == [False, True], "other files stay"


def test_quiet_prints_errors_only(place, capsys):
    jobs = listed(place, {}, {"fps": -1}, {"id": "line 1"})
    assert main(["batch", str(jobs), "--quiet"]) == 1
    printed = capsys.readouterr()
    assert not printed.out and printed.err == "error: line 2 failed: --fps -1 is out of range: give 1 … 120.\n"


def test_a_failure_is_explained_once(place, capsys):
    jobs = listed(place, {"fps": -1}, {"voice": "b.wav"})
    (place / "b.wav").write_bytes(b"no sound at all" * 100)
    assert main(["batch", str(jobs)]) == 1
    printed = capsys.readouterr()
    for reason in ("--fps -1 is out of range", "b.wav is not a picture, video or audio file"):
        assert (printed.out + printed.err).count(reason) == 1


def test_another_run_in_the_same_folder_is_refused(place, capsys):
    def second(given, tell):
        for job in given:
            assert main(["batch", str(jobs)]) == 2
            yield job.outcome(DONE)

    jobs = listed(place, {})
    assert run_batch(jobs, Path("outputs"), run=second).succeeded
    assert "another run is using" in capsys.readouterr().err


def test_a_runner_may_use_other_processes_and_any_order(place):
    """Jobs and outcomes are picklable."""
    jobs, steps = listed(place, {}, {"voice": "b.wav"}, {"seed": 1}), []

    def elsewhere(given, tell):
        talker = pipeline.Talker()
        for job in reversed(list(given)):
            job = pickle.loads(pickle.dumps(job))
            work = pickle.loads(pickle.dumps(render_job))
            with MediaChecks() as checks:
                yield pickle.loads(pickle.dumps(work(job, talker, checks, tell)))

    report = run_batch(jobs, Path("out"), run=elsewhere, on_progress=lambda *step: steps.append(step))
    assert report.succeeded and [outcome.line for outcome in report.outcomes] == [1, 2, 3] and report.frames == 15
    assert [step for step in steps if step[0] == "videos"] == [("videos", done, 3) for done in range(4)]
    assert ("drawing", 5, 5) in steps
    lost = run_batch(jobs, Path("lost"), run=lambda given, tell: iter(()))
    assert not lost.succeeded and lost.count(NOT_REACHED) == 3
    assert dataclasses.is_dataclass(report.outcomes[0]) and report.as_json()["jobs"][0]["renderer"] == "embedded"


def test_no_input_is_replaced(place, capsys):
    (place / "film.mp4").write_bytes(b"precious")
    jobs = listed(place, {"out": str(place / "film.mp4")}, {"source": "film.mp4"})
    code, report = run(capsys, jobs, "--overwrite")
    assert code == 1 and "is an input of one of the jobs" in reasons(report)[1]
    assert (place / "film.mp4").read_bytes() == b"precious"


def test_limit_and_report_are_checked(place, capsys):
    jobs = listed(place, {}, {"fps": -1})
    code, report = run(capsys, jobs, "--limit", 1)
    assert (code, states(report)) == (0, [DONE])
    for words in (["--limit", "0"], ["--report", "r.txt"], ["--report", "none/r.json"]):
        assert main(["batch", str(jobs), *words]) == 2
        assert words[0] in capsys.readouterr().err


def test_an_interrupt_is_a_keyboard_interrupt_with_a_report(place):
    def interrupted(given, tell):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt) as caught:
        run_batch(listed(place, {}), Path("outputs"), run=interrupted)
    assert isinstance(caught.value, BatchInterrupted) and caught.value.report.count(NOT_REACHED) == 1


def test_a_file_that_was_there_before_a_killed_run_is_not_taken_for_the_video(place, capsys):
    jobs, out = listed(place, {}), Path("outputs/face_a.mp4")
    out.parent.mkdir()
    out.write_bytes(b"somebody's")

    def killed(given, tell):
        next(iter(given))
        raise SystemExit
        yield

    with pytest.raises(SystemExit):
        run_batch(jobs, out.parent, overwrite=True, run=killed)
    assert states(run(capsys, jobs)[1]) == [FAILED] and out.read_bytes() == b"somebody's"
    assert states(run(capsys, jobs, "--overwrite")[1]) == [DONE]


def test_out_does_not_follow_links_out_of_the_folder(place, tmp_path, capsys, nothing_renders):
    outside, videos = tmp_path / "outside", tmp_path / "videos"
    outside.mkdir()
    (outside / "mine.mp4").write_bytes(b"keep")
    (videos / "real").mkdir(parents=True)
    (videos / "link").symlink_to(outside)
    (videos / "far").symlink_to(outside / "not" / "there")
    (videos / "a.mp4").symlink_to(outside / "mine.mp4")
    (videos / "face_a.mp4").symlink_to(outside / "new.mp4")
    (videos / "inner").symlink_to(videos / "real")
    jobs = listed(place, {"out": "link/b.mp4"}, {"out": "far/b.mp4"}, {"out": "a.mp4"}, {}, {"out": "inner/b.mp4"})
    code, report = run(capsys, jobs, "--out", videos, "--overwrite", "--dry-run")
    assert code == 1 and states(report) == [FAILED] * 4 + [PLANNED]
    assert all("is behind a link that leaves the folder of the batch" in reason for reason in reasons(report).values())
    assert (outside / "mine.mp4").read_bytes() == b"keep"
    assert [path.name for path in outside.iterdir()] == ["mine.mp4"]
    (tmp_path / "elsewhere" / "there").symlink_to(videos / "real")
    assert run(capsys, listed(place, {}), "--out", "there", "--dry-run")[0] == 0, "the folder itself may be a link"


def test_a_hostile_journal_is_no_internal_error(place, capsys):
    jobs = listed(place, {})
    assert main(["batch", str(jobs), "--out", "videos", "--quiet"]) == 0
    journal = Path("videos") / JOURNAL
    line = json.loads(journal.read_text().splitlines()[-1])
    for name in ("out", "frames", "video_seconds", "elapsed_seconds", "renderer", "reason", "status"):
        for value in ([], {}, "x", float("nan"), -1, 10**400, {"a": [1]}, True):
            journal.write_text(json.dumps({**line, "entry": {**line["entry"], name: value}}) + "\n")
            assert main(["batch", str(jobs), "--out", "videos", "--dry-run"]) in (0, 1), (name, value)
            assert "went wrong" not in capsys.readouterr().err


def test_many_jobs_of_one_pair_of_files_are_named_quickly(place, monkeypatch):
    """Each name was searched from the first on: 50 KB took eight seconds."""
    (place / "jobs.csv").write_text("source,voice\n" + "face.png,a.wav\n" * 500)
    resolved = []
    realpath = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: resolved.append(path) or realpath(path))
    jobs = read_jobs(place / "jobs.csv", place / "out")
    assert len({job.out for job in jobs}) == 500
    assert jobs[-1].out.name == "face_a_500.mp4"
    assert len(resolved) < 10_000  # not 125,000
