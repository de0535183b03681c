"""Bundles arrive from a store whole and unchanged, or not at all, with a line that says why."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.fetch import FetchFailed, fetch_bundle, main
from service.bundle import read_bundle

ZOO = Path(__file__).parents[3] / "model/zoo"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    shutil.copytree(ZOO / "blood-cells/1", tmp_path / "store/blood-cells/1")
    return tmp_path / "store"


@pytest.fixture
def web_store(store: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=store)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_fetched_bundle_is_one_the_service_reads(store: Path, tmp_path: Path) -> None:
    """The very same bundle, by its digest."""
    fetch_bundle(f"file://{store}", "blood-cells/1", tmp_path / "pod")
    assert read_bundle(tmp_path / "pod/blood-cells/1").id == read_bundle(ZOO / "blood-cells/1").id


def test_a_plain_web_server_is_store_enough(web_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is listed: the manifest says what there is."""
    main([web_store, str(tmp_path / "pod"), "blood-cells/1"])
    assert read_bundle(tmp_path / "pod/blood-cells/1").id == read_bundle(ZOO / "blood-cells/1").id
    assert "fetch: blood-cells/1: 1" in capsys.readouterr().out


def test_a_changed_file_is_not_kept(store: Path, tmp_path: Path) -> None:
    """Neither the file nor the manifest, without which the folder is no bundle."""
    with (store / "blood-cells/1/detector.onnx").open("ab") as file:
        file.write(b"!")
    with pytest.raises(FetchFailed, match="the manifest says"):
        fetch_bundle(f"file://{store}", "blood-cells/1", tmp_path / "pod")
    assert not (tmp_path / "pod/blood-cells/1/detector.onnx").exists()
    assert not (tmp_path / "pod/blood-cells/1/manifest.json").exists()


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ('{"files": {"../../escape": "00"}}', "outside the bundle"),
        ('{"files": {"/etc/escape": "00"}}', "outside the bundle"),
        ('{"files": 3}', "not the manifest of a bundle"),
        ("<html>", "not the manifest of a bundle"),
    ],
)
def test_a_manifest_that_means_harm_or_nothing_is_refused(
    store: Path, tmp_path: Path, manifest: str, words: str
) -> None:
    """A store may be wrong or hostile; nothing is written outside the folder."""
    (store / "blood-cells/1/manifest.json").write_text(manifest)
    with pytest.raises(FetchFailed, match=words):
        fetch_bundle(f"file://{store}", "blood-cells/1", tmp_path / "pod")
    assert not (tmp_path / "escape").exists()


def test_a_bundle_that_is_not_there_ends_the_pods_start_in_one_line(store: Path, tmp_path: Path) -> None:
    """The init container fails with what was asked for, not with a traceback."""
    with pytest.raises(SystemExit) as ended:
        main([f"file://{store}", str(tmp_path / "pod"), "blood-cells/2"])
    assert "blood-cells/2/manifest.json cannot be read" in str(ended.value)
