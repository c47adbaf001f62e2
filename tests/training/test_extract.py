"""`dataset extract`: records, broken clips, interruption and clusters."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from extracting import faceless_video, metadata_text, talking_video  # noqa: E402

from liveportrait_talker.cli.main import main  # noqa: E402
from liveportrait_talker.errors import EndedEarly, MediaError  # noqa: E402
from liveportrait_talker.face.alignment import align_face  # noqa: E402
from liveportrait_talker.face.finder import LANDMARK_SOURCE, FaceFinder  # noqa: E402
from liveportrait_talker.face.liveportrait_crop import portrait_crop  # noqa: E402
from liveportrait_talker.media import open_footage  # noqa: E402
from liveportrait_talker.training import extractor  # noqa: E402
from liveportrait_talker.training.extract import ExtractOptions, extract  # noqa: E402
from liveportrait_talker.training.extractor import Extractor  # noqa: E402
from liveportrait_talker.training.faces import Clip, ClipEnd, detect_ahead  # noqa: E402
from liveportrait_talker.training.records import Stamp, read_record  # noqa: E402

STAMP = Stamp("a" * 64, "b" * 64, "tracker 1")
KILLS = int(os.environ.get("LPT_KILLS", "2"))  # 10 for a thorough test
ONE_BY_ONE = ExtractOptions(device="cpu", batch_size=4, decoders=0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Three source videos of two clips, with their text files; one clip is cut short, one shows nobody."""
    folder = tmp_path_factory.mktemp("clips")
    video = talking_video(folder / "talking.mp4", seconds=0.4, seed=1)
    for speaker in range(3):
        for name in ("00000", "00001"):
            clip = folder / "clips" / f"id{speaker:05d}" / "video" / f"{name}.mp4"
            clip.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, clip)
            text = folder / "text" / clip.parent.relative_to(folder / "clips") / f"{name}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(metadata_text(10))
    faceless_video(folder / "clips" / "id00001" / "video" / "00001.mp4", frames=8)
    broken = folder / "clips" / "id00002" / "video" / "00001.mp4"
    broken.write_bytes(broken.read_bytes()[:2000])
    return folder


@pytest.fixture
def dataset(clips, tmp_path) -> Path:
    shutil.copytree(clips / "clips", tmp_path / "data" / "clips")
    return tmp_path / "data"


def cheap(extractor: Extractor, aligned: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    """In place of the networks: some numbers of the pictures, the same each time."""
    values = np.concatenate([aligned.mean(axis=(1, 2)), faces.mean(axis=(1, 2))], axis=1).astype(np.float32)  # (n, 6)
    wide = np.tile(values, 11)
    return {
        "expression": wide[:, :64],
        "angle_translation": values,
        "keypoint_expression": wide[:, :63].reshape(-1, 21, 3),
        "rotation_deg": values[:, :3],
    }


@pytest.fixture
def without_networks(monkeypatch):
    monkeypatch.setattr(Extractor, "_run_networks", cheap)
    monkeypatch.setattr(Extractor, "stamp", STAMP)


def files(dataset: Path) -> dict[str, bytes]:
    places = [*(dataset / "records").rglob("*"), dataset / "extract.jsonl"]
    return {str(p.relative_to(dataset)): p.read_bytes() for p in places if p.is_file()}


def test_a_record_holds_the_networks_outputs(clips, tmp_path, store, monkeypatch):
    monkeypatch.setenv("LPT_MODELS", str(store))
    clip = tmp_path / "data" / "clips" / "id1" / "v" / "00000.mp4"
    clip.parent.mkdir(parents=True)
    shutil.copy(clips / "clips" / "id00000" / "video" / "00000.mp4", clip)
    report = extract(tmp_path / "data", None, ExtractOptions(device="cpu", batch_size=4))
    record = read_record(tmp_path / "data" / "records" / "id1" / "v.safetensors")
    assert report.frames == len(record.seen) == 10 and record.seen.all()
    assert record.stamp.tracker == LANDMARK_SOURCE and len(record.stamp.motion_extractor) == 64
    from liveportrait_talker.pipelines.networks import build_network
    from liveportrait_talker.render.neural.crops import network_image
    from liveportrait_talker.render.neural.keypoints import FaceMotion

    finder = FaceFinder()
    with open_footage(clip) as footage:
        points = finder.find(footage[0])
        for k in (1, 2):
            points.append(finder.follow(footage[k], points[-1]))
        face = network_image(footage[2], portrait_crop(points[2]))
        aligned = align_face(footage[2], points[2])
    from liveportrait_talker.weights.importing import load_network

    def seen(network: str, image: np.ndarray) -> object:
        net = load_network(network, lambda: build_network(network))
        with torch.inference_mode():
            return net(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255))

    motion = FaceMotion.from_heads(seen("motion_extractor", face))
    np.testing.assert_allclose(record.keypoint_expression[2], motion.expression[0], atol=1e-6)
    np.testing.assert_allclose(record.rotation_deg[2], motion.rotation_deg[0], atol=1e-4)
    coefficients = seen("sadtalker_face_3drecon", aligned)[0].numpy()
    np.testing.assert_allclose(
        record.expression[2], coefficients[80:144], rtol=1e-4, atol=1e-5 * abs(coefficients).max()
    )


def test_broken_clips_are_counted_and_named(dataset, clips, without_networks, capsys):
    """a truncated video and one without a face are counted and named, not fatal."""
    assert (
        main(["dataset", "extract", str(dataset), "--metadata", str(clips / "text"), "--device", "cpu", "--json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["videos"] == {"done": 3} and report["utterances"] == {"done": 4, "failed": 2}
    assert report["reasons"] == {"broken clip": 1, "no face": 1} and report["frames"] == 40
    assert [name for name, _ in report["failures"]] == ["id00001/video/00001", "id00002/video/00001"]
    rows = [json.loads(line) for line in (dataset / "extract.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows) and len(rows) == 6
    assert main(["dataset", "extract", str(dataset), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["worked_on"] == 0, "what is done is done, and what failed for good too"
    assert main(["dataset", "extract", str(dataset), "--device", "cpu", "--json", "--retry-failed"]) == 0
    assert json.loads(capsys.readouterr().out)["worked_on"] == 2


def test_an_invalid_text_file_is_counted_and_named(dataset, clips, tmp_path, without_networks):
    text = tmp_path / "text"
    shutil.copytree(clips / "text", text)
    (text / "id00000" / "video" / "00001.txt").write_text(metadata_text(10).replace("000003 ", "nonsense "))
    report = extract(dataset, text, ONE_BY_ONE)
    assert ("id00000/video/00001", "broken clip") in [
        (key, reason.partition(":")[0]) for key, reason in report.failures
    ]
    assert any("00001.txt, line" in reason for _, reason in report.failures)


def test_records_of_other_weights_are_refused(dataset, without_networks, monkeypatch):
    extract(dataset, None, ONE_BY_ONE)
    monkeypatch.setattr(Extractor, "stamp", dataclasses.replace(STAMP, face_3drecon="f" * 64))
    with pytest.raises(MediaError, match=r"id00000/video.safetensors was made by other extractors: its face_3drecon"):
        extract(dataset, None, ONE_BY_ONE)
    report = extract(dataset, None, dataclasses.replace(ONE_BY_ONE, redo=True))
    assert report.worked_on == 3
    assert read_record(dataset / "records" / "id00000" / "video.safetensors").stamp.face_3drecon == "f" * 64


@pytest.mark.parametrize("decoders", [1, 9])
def test_decoding_ahead_changes_nothing(dataset, clips, decoders, tmp_path, without_networks):
    extract(dataset, clips / "text", ONE_BY_ONE)
    wanted = files(dataset)
    shutil.rmtree(dataset / "records")
    (dataset / "extract.journal").unlink()
    extract(dataset, clips / "text", ExtractOptions(device="cpu", batch_size=4, decoders=decoders))
    assert files(dataset) == wanted


def test_readers_end_when_the_iterator_is_closed(dataset):
    import threading

    paths = sorted((dataset / "clips").rglob("*.mp4"))
    items = detect_ahead([Clip(p.stem, p, None) for p in paths], 4)
    assert not isinstance(next(items), ClipEnd)
    items.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("clip ")]


def test_an_unexpected_error_does_not_end_the_run(dataset, without_networks, monkeypatch):
    whole = extractor.detect_ahead.__globals__["_detect_faces"]

    def odd(clip, number):
        if "id00000" in str(clip.video) and clip.name == "00001":
            raise ValueError("av: something new")
        return whole(clip, number)

    monkeypatch.setitem(extractor.detect_ahead.__globals__, "_detect_faces", odd)
    report = extract(dataset, None, ONE_BY_ONE)
    assert ("id00000/video/00001", "something went wrong: ValueError") in report.failures
    assert report.videos == {"done": 3}


def test_a_full_disk_ends_the_run_which_is_resumed(dataset, without_networks, monkeypatch, capsys):
    def full(record, path):
        raise MediaError(
            "the disk is full: free some space and run the same command again; it continues where it stopped."
        )

    with monkeypatch.context() as patch:
        patch.setattr(extractor, "write_record", full)
        with pytest.raises(EndedEarly, match="disk is full") as end:
            extract(dataset, None, ONE_BY_ONE)
        assert main(["dataset", "extract", str(dataset), "--quiet", "--json"]) == 2
    assert end.value.report.reasons == {"the disk is full": 1} and len(end.value.report.failures) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["reasons"] == {"the disk is full": 1}
    assert told.err.startswith("error: the disk is full: free some space")
    assert extract(dataset, None, ONE_BY_ONE).worked_on == 3


SCRIPT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {here!r}]
    from test_extract import ONE_BY_ONE, STAMP, cheap, Extractor, extract
    Extractor._run_networks, Extractor.stamp = cheap, STAMP
    extract(Path({dataset!r}), Path({text!r}), ONE_BY_ONE)
    """
)


@pytest.mark.slow
def test_a_killed_run_is_resumed_with_the_same_result(clips, tmp_path):
    """kill −9 at a random moment, run again: the same records, byte for byte."""

    def start(dataset: Path) -> subprocess.Popen:
        here = Path(__file__).parent
        code = SCRIPT.format(tests=str(here.parent), here=str(here), dataset=str(dataset), text=str(clips / "text"))
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def copy(name: str) -> Path:
        shutil.copytree(clips / "clips", tmp_path / name / "clips")
        return tmp_path / name

    calm, started = copy("calm"), time.monotonic()
    assert start(calm).wait() == 0
    whole, chance = time.monotonic() - started, random.Random(3)
    for k in range(KILLS):
        killed = copy(f"killed{k}")
        process = start(killed)
        time.sleep(chance.uniform(0.3, 1.0) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert start(killed).wait() == 0
        assert files(killed) == files(calm)


@pytest.mark.slow
def test_a_cluster_with_a_dying_worker_makes_the_same_records(dataset, clips, tmp_path, without_networks, monkeypatch):
    """a Ray local cluster, one worker killed mid-run, has the same records as one process."""
    pytest.importorskip("ray")
    from killed_worker import KilledExtractor

    from liveportrait_talker.system.ray_cluster import Cluster
    from liveportrait_talker.training.video_jobs import postpone

    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]))
    extract(dataset, clips / "text", ONE_BY_ONE)
    wanted = files(dataset)
    shutil.rmtree(dataset / "records")
    (dataset / "extract.journal").unlink()
    killed_once = KilledExtractor(tmp_path / "died", ("id00001/video",))
    run = lambda worker, jobs: Cluster(workers=2).map(killed_once, jobs, on_lost=postpone)  # noqa: E731
    report = extract(dataset, clips / "text", ONE_BY_ONE, run=run)
    assert (tmp_path / "died").exists(), "nobody was killed"
    assert files(dataset) == wanted and report.videos == {"done": 3}


@pytest.mark.parametrize("what", ["speaker", "video", "clip", "records"])
def test_links_that_leave_the_data_set_are_refused(dataset, without_networks, tmp_path, what):
    outside = tmp_path / "outside"
    if what == "records":
        outside.mkdir()
        (dataset / "records").mkdir()
        (dataset / "records" / "id00000").symlink_to(outside)
    else:
        clip = dataset / "clips" / "id00000" / "video" / "00000.mp4"
        moved = {"speaker": clip.parent.parent, "video": clip.parent, "clip": clip}[what]
        moved.rename(outside)
        moved.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    with pytest.raises(MediaError, match="is behind a link that leaves"):
        extract(dataset, None, ONE_BY_ONE)
    assert sorted(outside.rglob("*")) == before


def test_a_text_file_behind_a_link_is_not_read(dataset, clips, tmp_path, without_networks, caplog):
    text = tmp_path / "text"
    shutil.copytree(clips / "text", text)
    (tmp_path / "secret").write_text("secret")
    (text / "id00000" / "video" / "00000.txt").unlink()
    (text / "id00000" / "video" / "00000.txt").symlink_to(tmp_path / "secret")
    report = extract(dataset, text, ONE_BY_ONE)
    assert "id00000/video/00000" not in dict(report.failures)
    assert "is behind a link that leaves" in caplog.text
