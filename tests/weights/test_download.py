"""Downloads from a local server that drops, truncates, corrupts and refuses."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from released import manifest, tensors

from liveportrait_talker.errors import WeightsError
from liveportrait_talker.system import partial_files
from liveportrait_talker.weights import importing, registry, store
from liveportrait_talker.weights.download import download, download_and_convert
from liveportrait_talker.weights.integrity import read_receipt, sha256_of, write_receipt
from liveportrait_talker.weights.transfer import SourceError, _opener, _Redirects

NAME = "liveportrait/motion_extractor"
FILE = "/motion_extractor.pth"
FIRST_USE = "talker/mappingnet"  # no checksum is published


def saved(content: object) -> bytes:
    torch = pytest.importorskip("torch")
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def in_safetensors(state: dict[str, Any], metadata: dict[str, str]) -> bytes:
    return pytest.importorskip("safetensors.torch").save(state, metadata)


def mappingnet(seed: int = 0) -> bytes:
    """A file of the MappingNet with small tensors."""
    return saved(tensors(manifest("mappingnet"), seed))


def left(folder: Path) -> list[str]:
    """Partial files that are still there."""
    return sorted(p.name for p in folder.rglob("*.part*"))


def test_a_file_is_downloaded_once(server, pauses, release, payload, store_folder):
    server.files[FILE] = payload
    release(payload, server.address + FILE)
    seen: list[tuple[str, int, int]] = []
    path = download(NAME, on_progress=lambda *step: seen.append(step), retry_policy=pauses.retry_policy)
    assert path == store_folder / "liveportrait" / "motion_extractor.pth"
    assert path.read_bytes() == payload
    assert not left(store_folder)
    fetched = [step for step in seen if step[0] == f"download {NAME}"]
    assert fetched[-1] == (f"download {NAME}", len(payload), len(payload))
    assert [d for _, d, _ in fetched] == sorted(d for _, d, _ in fetched)
    receipt = read_receipt(path)
    assert receipt is not None and receipt.trust == "published"
    download(NAME, retry_policy=pauses.retry_policy)
    assert len(server.requests) == 1 and not pauses.taken


def test_a_dropped_connection_is_resumed(server, pauses, release, payload):
    server.files[FILE] = payload
    server.script = ["drop:300000", "drop:200000"]
    release(payload, server.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert server.requests == [(FILE, None, None), (FILE, "bytes=300000-", '"one"'), (FILE, "bytes=500000-", '"one"')]
    assert pauses.taken == [1.0, 1.0]  # each attempt gained something


def test_attempts_without_progress_back_off_and_end(server, pauses, release, payload):
    server.files[FILE] = payload
    server.script = ["500", "502", "503", "504", "500", "500"]
    release(payload, server.address + FILE)
    with pytest.raises(WeightsError, match=r"could not get liveportrait/motion_extractor: 127\.0\.0\.1.* answers 500"):
        download(NAME, retry_policy=pauses.retry_policy)
    assert pauses.taken == [1.0, 2.0, 4.0, 8.0]
    assert len(server.requests) == 5


def test_a_stalling_server_is_retried(server, pauses, release, payload):
    server.files[FILE] = payload
    server.script = ["stall:1"]
    release(payload, server.address + FILE)
    assert download(NAME, retry_policy=replace(pauses.retry_policy, timeout=0.2)).read_bytes() == payload
    assert pauses.taken == [1.0]


def test_an_unreachable_server(pauses, release, payload):
    release(payload, "http://127.0.0.1:9" + FILE)
    with pytest.raises(
        WeightsError, match=r"127\.0\.0\.1/motion_extractor\.pth cannot be reached .*Try again, or download http"
    ):
        download(NAME, retry_policy=pauses.retry_policy)
    assert pauses.taken == [1.0, 2.0, 4.0, 8.0]


def test_pauses_are_jittered_and_bounded():
    from liveportrait_talker.weights.transfer import RetryPolicy

    taken: list[float] = []
    for chance in (0.0, 1.0):
        retry_policy = RetryPolicy(sleep=taken.append, jitter=lambda c=chance: c)
        retry_policy.pause(3, 0.0)
        retry_policy.pause(30, 0.0)
    assert taken == [2.0, 30.0, 4.0, 60.0]


def test_retry_after_is_honoured(server, pauses, release, payload):
    server.files[FILE] = payload
    server.script = ["429:7", "503:Thu, 01 Jan 1970 00:00:00 GMT"]
    release(payload, server.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert pauses.taken == [7.0, 2.0]


def test_a_server_with_a_long_retry_after_is_skipped(server, mirror, pauses, release, payload):
    server.files[FILE] = mirror.files[FILE] = payload
    server.script = ["429:3600"]
    release(payload, server.address + FILE, mirror.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert not pauses.taken and len(mirror.requests) == 1


def test_the_next_mirror_is_tried_and_404_not_repeated(server, mirror, pauses, release, payload):
    mirror.files[FILE] = payload
    release(payload, server.address + FILE, mirror.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert len(server.requests) == len(mirror.requests) == 1 and not pauses.taken


def test_a_partial_file_is_completed_from_another_mirror(server, mirror, pauses, release, payload):
    server.files[FILE] = mirror.files[FILE] = payload
    server.script = ["drop:400000", "404"]
    release(payload, server.address + FILE, mirror.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert mirror.ranges() == ["bytes=400000-"]


def test_a_partial_file_of_an_earlier_run_is_resumed(server, pauses, release, payload, store_folder):
    server.files[FILE] = payload
    server.script = ["drop:600000", "404"]
    release(payload, server.address + FILE)
    with pytest.raises(WeightsError, match="The partial file is kept: try again"):
        download(NAME, retry_policy=pauses.retry_policy)
    assert left(store_folder) == ["motion_extractor.pth.part", "motion_extractor.pth.part.json"]
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert server.ranges()[-1] == "bytes=600000-"


def test_without_range_support_the_download_restarts(server, pauses, release, payload):
    server.files[FILE] = payload
    server.script = ["drop:300000", "whole"]
    release(payload, server.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload


def test_versions_of_a_changed_file_are_not_mixed(server, pauses, release, payload):
    old = bytes(len(payload))
    server.files[FILE] = old
    server.script = ["drop:300000", "404:"]
    release(payload, server.address + FILE)
    with pytest.raises(WeightsError):
        download(NAME, retry_policy=pauses.retry_policy)
    server.files[FILE] = payload
    server.script = ['new:"two"']
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert server.requests[-1] == (FILE, "bytes=300000-", '"one"') and len(server.requests) == 3


def test_a_mixture_is_detected_by_its_checksum_and_downloaded_again(server, pauses, release, payload):
    server.files[FILE] = bytes(len(payload))
    server.script = ["drop:300000", "404:"]
    release(payload, server.address + FILE)
    with pytest.raises(WeightsError):
        download(NAME, retry_policy=pauses.retry_policy)
    server.files[FILE], server.tag = payload, '"two"'
    server.script = ["ignoreif"]  # the server goes on with its new file as if it were the old one
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert server.ranges()[-2:] == ["bytes=300000-", None]


@pytest.mark.parametrize("word", ["wrongrange", "416"])
def test_a_wrong_range_is_dropped(server, pauses, release, payload, word):
    server.files[FILE] = payload
    server.script = ["drop:300000", word]
    release(payload, server.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    assert server.ranges() == [None, "bytes=300000-", None]


def test_a_weak_etag_is_not_a_validator(server, pauses, release):
    content = mappingnet()
    server.files[FILE], server.tag = content, 'W/"one"'
    server.script = ["drop:1000"]
    release(content, server.address + FILE, name=FIRST_USE, summed=False)
    assert download(FIRST_USE, retry_policy=pauses.retry_policy).read_bytes() == content
    assert server.ranges() == [None, None]


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(server, pauses, release, payload, store_folder):
    server.files[FILE] = payload[:-1] + b"?"
    file = release(payload, server.address + FILE)
    with pytest.raises(WeightsError, match=f"sent a wrong file: its sha256 is .*, expected {file.sha256}"):
        download(NAME, retry_policy=pauses.retry_policy)
    assert not left(store_folder) and not store.released_path(file).exists()
    assert len(server.requests) == 1


def test_a_corrupt_mirror_does_not_affect_the_next(server, mirror, pauses, release, payload):
    server.files[FILE], mirror.files[FILE] = payload[:-1] + b"?", payload
    release(payload, server.address + FILE, mirror.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload


def test_a_file_of_another_size_is_not_downloaded(server, pauses, release, payload):
    server.files[FILE] = payload
    server.script = ["cut:1000"]
    release(payload, server.address + FILE)
    with pytest.raises(WeightsError, match="has a file of 1,000 bytes where 900,002 are published"):
        download(NAME, retry_policy=pauses.retry_policy)


def test_never_more_than_the_known_size(server, pauses, release, payload, store_folder):
    server.files[FILE] = payload
    server.script = ["endless"]
    release(payload, server.address + FILE)
    with pytest.raises(WeightsError, match="sends more than 900,002 bytes"):
        download(NAME, retry_policy=pauses.retry_policy)
    assert not left(store_folder)


def test_never_more_than_the_limit_where_no_size_is_known(server, pauses, release, payload, monkeypatch):
    monkeypatch.setattr("liveportrait_talker.weights.transfer.MAX_BYTES", 500_000)
    server.files[FILE] = payload
    release(payload, server.address + FILE, summed=False)
    with pytest.raises(WeightsError, match=r"the limit is 500,000"):
        download(NAME, retry_policy=pauses.retry_policy)
    server.script = ["endless"]
    with pytest.raises(WeightsError, match=r"sends more than 500,000"):
        download(NAME, retry_policy=pauses.retry_policy)


def test_trust_on_first_use_requires_the_first_checksum(server, pauses, release, caplog):
    server.files[FILE] = content = mappingnet()
    file = release(content, server.address + FILE, name=FIRST_USE, summed=False)
    path = download(FIRST_USE, retry_policy=pauses.retry_policy)
    assert "no checksum is published" in caplog.text
    assert store.verify(FIRST_USE)[0].state == "unchanged"
    path.unlink()
    server.files[FILE] = mappingnet(seed=1)
    with pytest.raises(WeightsError, match=r"sent a wrong file.*, that of the first download \(.*onlylip\.pt\.receipt"):
        download(FIRST_USE, retry_policy=pauses.retry_policy)
    assert not store.released_path(file).exists()


def wrong_first_downloads() -> dict[str, bytes]:
    good = tensors(manifest("mappingnet"))
    less = {k: v for k, v in good.items() if k != "fc_exp.bias"}
    return {
        "lacks the tensor 'fc_exp.bias'": saved(less),
        "which the network does not have": saved(good | {"first.0.more": good["fc_exp.bias"]}),
        "the same numbers of the file more than once": saved(good | {"fc_exp.bias": good["fc_exp.bias"][:1].expand(3)}),
        "does not hold the network mappingnet": saved({"x": good["fc_exp.bias"]}),
        "contains pickled Python objects": saved(good | {"path": Path("x")}),
        "not a state dict": saved([1, 2]),
        "list of tensors cannot be read": b"\x80\x02" + bytes(1000),
        "states windows of '999' rows": in_safetensors(good, {"rows": "999"}),
    }


@pytest.mark.parametrize("said", wrong_first_downloads() if find_spec("torch") else [])
def test_a_wrong_first_download_leaves_nothing_and_is_not_required(server, mirror, pauses, release, said):
    """Its checksum was required from then on, so that the right file was refused."""
    server.files[FILE], mirror.files[FILE] = wrong_first_downloads()[said], mappingnet()
    release(b"", server.address + FILE, name=FIRST_USE, summed=False)
    for get in (download, lambda name, **more: list(download_and_convert([name]))):
        with pytest.raises(WeightsError, match=said) as error:
            get(FIRST_USE, retry_policy=pauses.retry_policy)
        assert ".part" not in str(error.value) and "\n" not in str(error.value)
        assert [path for path in store.root().rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    release(b"", server.address + FILE, mirror.address + FILE, name=FIRST_USE, summed=False)
    ((_, path),) = download_and_convert([FIRST_USE])
    assert path.read_bytes() == mirror.files[FILE], "the next mirror is tried"
    assert store.is_converted("mappingnet") and read_receipt(path) is not None


def test_a_wrong_file_that_an_older_version_required_is_replaced(server, pauses, release):
    server.files[FILE] = content = mappingnet()
    file = release(b"", server.address + FILE, name=FIRST_USE, summed=False)
    path = store.released_path(file)
    path.parent.mkdir(parents=True)
    path.write_bytes(wrong_first_downloads()["not a state dict"])
    write_receipt(path, sha256=sha256_of(path), origin="somewhere", trust="first use")
    assert download(FIRST_USE, retry_policy=pauses.retry_policy).read_bytes() == content
    receipt = read_receipt(path)
    assert receipt is not None and receipt.sha256 == sha256_of(path)


def test_a_wrong_file_that_was_put_into_the_store_is_not_required(release):
    file = release(b"", name=FIRST_USE, summed=False)
    path = store.released_path(file)
    path.parent.mkdir(parents=True)
    path.write_bytes(wrong_first_downloads()["not a state dict"])
    assert not any(item.ready for item in store.installed())
    for use in (lambda: store.path(FIRST_USE), lambda: importing.load_state_dict("mappingnet")):
        with pytest.raises(WeightsError, match=r"onlylip\.pt holds a list, not a state dict"):
            use()
    assert store.verify(FIRST_USE)[0].state == "bad"
    assert read_receipt(path) is None and not store.is_converted("mappingnet")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html>log in first</html>", "is a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer"),
        (b"", "is empty"),
    ],
)
def test_other_files_are_not_trusted_on_first_use(server, pauses, release, body, said):
    server.files[FILE] = body
    release(body, server.address + FILE, summed=False)
    with pytest.raises(WeightsError, match=said):
        download(NAME, retry_policy=pauses.retry_policy)


def test_a_corrupt_file_in_the_store_is_downloaded_again(server, pauses, release, payload):
    server.files[FILE] = payload
    release(payload, server.address + FILE)
    path = download(NAME, retry_policy=pauses.retry_policy)
    path.write_bytes(payload[:1000])
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload


@pytest.mark.parametrize("variable", ["LPT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_makes_no_request(server, pauses, release, payload, monkeypatch, variable):
    server.files[FILE] = payload
    release(payload, server.address + FILE)
    monkeypatch.setenv(variable, "1")
    for base in (None, server.address):
        with pytest.raises(WeightsError, match=f"{variable} forbids downloads.*models import DIR"):
            download(NAME, base=base, retry_policy=pauses.retry_policy)
    assert not server.requests
    monkeypatch.delenv(variable)
    path = download(NAME, retry_policy=pauses.retry_policy)
    monkeypatch.setenv(variable, "1")
    assert download(NAME) == path  # what is here needs no network


@pytest.mark.parametrize("place", ["/liveportrait/base_models/motion_extractor.pth", FILE])
def test_from_an_address(server, pauses, release, payload, place):
    server.files["/mirror" + place] = payload
    release(payload)
    assert download(NAME, base=server.address + "/mirror/", retry_policy=pauses.retry_policy).read_bytes() == payload


@pytest.mark.parametrize("place", ["liveportrait/base_models/motion_extractor.pth", "motion_extractor.pth"])
def test_from_a_folder_even_offline(tmp_path, release, payload, monkeypatch, place):
    monkeypatch.setenv("LPT_OFFLINE", "1")
    source = tmp_path / "usb" / place
    source.parent.mkdir(parents=True)
    source.write_bytes(payload)
    release(payload)
    assert download(NAME, base=tmp_path / "usb").read_bytes() == payload
    store.released_path(registry.find(NAME)).unlink()
    source.write_bytes(payload[:-1] + b"?")
    with pytest.raises(
        WeightsError, match=r"wrong file.*import your own files with liveportrait-talker models import DIR"
    ):
        download(NAME, base=tmp_path / "usb")


@pytest.mark.parametrize("base", ["ftp://example.org/x", "file:///etc", "https://", "/no/such/folder"])
def test_an_invalid_base_is_refused(release, payload, base):
    release(payload)
    with pytest.raises(WeightsError, match="neither a folder nor an http"):
        download(NAME, base=base)


def test_hf_endpoint_replaces_the_hub(server, pauses, release, payload, monkeypatch):
    server.files["/a/b.pth"] = payload
    release(payload, "https://huggingface.co/a/b.pth")
    monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload


def test_redirects_are_followed_but_not_to_files(server, mirror, pauses, release, payload):
    mirror.files["/x"] = payload
    server.script = [f"to:{mirror.address}/x"]
    release(payload, server.address + FILE)
    assert download(NAME, retry_policy=pauses.retry_policy).read_bytes() == payload
    store.released_path(registry.find(NAME)).unlink()
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        server.script = [f"to:{target}"]
        with pytest.raises(WeightsError, match=r"not followed|answers 302"):
            download(NAME, retry_policy=pauses.retry_policy)


def test_redirects_never_leave_https():
    import urllib.request

    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(SourceError, match="from https to http"):
        _Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/b")
    further = _Redirects().redirect_request(request, None, 302, "Found", {}, "https://example.org/b")
    assert further is not None and further.full_url == "https://example.org/b"


def test_certificates_are_checked_and_no_other_scheme_opens():
    import ssl
    import urllib.request

    opener = _opener()
    https = next(h for h in opener.handlers if isinstance(h, urllib.request.HTTPSHandler))
    assert https._context.verify_mode == ssl.CERT_REQUIRED and https._context.check_hostname
    for address in ("file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"):
        with pytest.raises(OSError, match="unknown url type"):
            opener.open(address)


def test_a_full_disk_is_reported_before_and_while_writing(server, pauses, release, payload, monkeypatch, store_folder):
    server.files[FILE] = payload
    release(payload, server.address + FILE)

    class Usage:
        free = 1000

    with monkeypatch.context() as patch:
        patch.setattr(partial_files.shutil, "disk_usage", lambda _: Usage)
        with pytest.raises(WeightsError, match=r"the disk is full: 1 MB are needed.*LPT_MODELS"):
            download(NAME, retry_policy=pauses.retry_policy)

    class Full:
        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    part = store_folder / "x.part"
    part.write_bytes(b"x")
    with pytest.raises(WeightsError, match="the disk is full: the file does not fit"):
        partial_files.write_chunk(Full(), b"y", part)  # type: ignore[arg-type]
    assert not part.exists()


def test_a_read_only_store_is_reported(release, payload, monkeypatch, tmp_path):
    release(payload)
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("LPT_MODELS", str(blocker))
    with pytest.raises(WeightsError, match=r"cannot write in .*set LPT_MODELS"):
        download(NAME)


def test_unknown_names_list_what_exists():
    with pytest.raises(WeightsError, match=r"no weights named 'nonsense': the names are liveportrait/appearance"):
        download("nonsense")


def test_threads_download_a_file_once(server, pauses, release, payload):
    server.files[FILE], server.slow = payload, 0.01
    release(payload, server.address + FILE)
    paths: list[Any] = []
    threads = [
        threading.Thread(target=lambda: paths.append(download(NAME, retry_policy=pauses.retry_policy)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1 and len(set(paths)) == 1
    assert paths[0].read_bytes() == payload


def test_processes_download_a_file_once(server, release, payload, store_folder):
    server.files[FILE], server.slow = payload, 0.02
    file = release(payload)
    code = (
        "import dataclasses, sys\n"
        "from liveportrait_talker.weights import registry\n"
        "from liveportrait_talker.weights.download import download\n"
        f"file = dataclasses.replace(registry.find({NAME!r}), size={file.size}, sha256={file.sha256!r})\n"
        "registry.FILES = (file,)\n"
        f"download({NAME!r}, base={server.address!r})\n"
    )
    server.files["/liveportrait/base_models" + FILE] = payload
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(30) for process in running] == [0, 0, 0]
    assert store.released_path(file).read_bytes() == payload
    assert len(server.requests) == 1 and not left(store_folder)
