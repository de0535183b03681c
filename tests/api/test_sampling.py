"""Samples as a pod keeps them and a reviewer reads them: real servers, a folder, the command."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from service.bundle import Bundle, write_bundle
from tests.api.test_shadow import counted, eventually
from tests.conftest import MANIFEST, Served, run_server

NOISE = np.random.default_rng(5).integers(0, 256, (120, 160, 3)).astype(np.uint8)


def photograph() -> bytes:
    """A JPEG that says who took it, and where."""
    exif, body = Image.Exif(), io.BytesIO()
    exif[0x8298] = "Secret-Owner"
    exif.get_ifd(0x8825)[0x001D] = "Secret-Place"
    Image.fromarray(NOISE).save(body, "JPEG", exif=exif, quality=95)
    return body.getvalue()


PHOTOGRAPH = photograph()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "samples.key"
    file.write_text(rcnn("samples", "key").stdout)
    return file


def rcnn(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@contextmanager
def sampling(bundle: Bundle, **settings: object) -> Iterator[Served]:
    environment = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(bundle.root), "RCNN_FAKE_ENGINE_DELAY_MS": "1"}
    with run_server({**environment, **{f"RCNN_{name.upper()}": str(value) for name, value in settings.items()}}) as it:
        yield it


def ask(server: Served, times: int = 1, **options: str) -> set[int]:
    with httpx.Client(timeout=30) as client:
        url = f"{server.http_url}/v1/detect"
        return {client.post(url, params=options, content=PHOTOGRAPH).status_code for _ in range(times)}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sample_is_sealed_blurred_and_comes_back_through_the_command(
    toy_bundle: Bundle, tmp_path: Path, key: Path
) -> None:
    kept, out = tmp_path / "kept", tmp_path / "out"
    wish = {"samples_url": kept, "samples_key": key, "samples_random_share": 1, "samples_blur": "thing"}
    with sampling(toy_bundle, **wish) as server:
        assert ask(server) == {200}
        eventually(lambda: counted(server, "rcnn_samples_total", reason="random") == 1)
        assert counted(server, "rcnn_samples_bytes") == sum(map(len, files(kept).values()))
    ((name, sealed),) = files(kept).items()
    assert b"PNG" not in sealed and b"thing" not in sealed
    listed = rcnn("samples", "list", str(kept), "--key", str(key))
    assert listed.returncode == 0 and name in listed.stdout and "random" in listed.stdout, listed.stderr
    shown = rcnn("samples", "show", str(kept), "--key", str(key), "--out", str(out))
    assert shown.returncode == 0, shown.stderr
    png, described = (next(out.glob(pattern)).read_bytes() for pattern in ("*.png", "*.json"))
    assert b"Secret" in PHOTOGRAPH and b"Secret" not in png and b"Secret" not in described
    ((found,), image) = json.loads(described)["detections"], np.asarray(Image.open(io.BytesIO(png))).astype(float)
    left, top, right, bottom = (int(edge) for edge in found["box"])
    assert image.shape == NOISE.shape and (right - left) * (bottom - top) > 4_000
    assert (
        np.abs(np.diff(image[top:bottom, left:right], axis=1)).mean() < 10 < np.abs(np.diff(image[:20], axis=1)).mean()
    )


def test_nothing_is_written_when_sampling_is_off(toy_bundle: Bundle, tmp_path: Path, key: Path) -> None:
    """Whatever else is set, and nowhere it might: not at home, not among temporary files, not beside the key."""
    os.makedirs(tmp_path / "home")
    before = files(tmp_path)
    places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "home")}
    wish = {"RCNN_SAMPLES_KEY": str(key), "RCNN_SAMPLES_RANDOM_SHARE": "1", "RCNN_ENGINE_CACHE": ""}
    engine = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root)}
    with run_server({**places, **wish, **engine}) as server:
        assert ask(server, 20) == {200}
        assert counted(server, "rcnn_samples_total") == counted(server, "rcnn_samples_dropped_total") == 0
    assert files(tmp_path) == before


@pytest.mark.slow
def test_a_flood_is_held_to_the_rate(toy_bundle: Bundle, tmp_path: Path, key: Path) -> None:
    """300 requests that are all chosen: one in a minute for its reason, of five for all reasons."""
    wish = {"samples_url": tmp_path / "kept", "samples_key": key, "samples_random_share": 1, "samples_per_minute": 5}
    with sampling(toy_bundle, **wish) as server:
        assert ask(server, 300) == {200}
        eventually(lambda: counted(server, "rcnn_samples_total") + counted(server, "rcnn_samples_dropped_total") == 300)
        assert counted(server, "rcnn_samples_dropped_total", reason="rate") >= 290
        assert len(files(tmp_path / "kept")) == counted(server, "rcnn_samples_total") <= 5


def test_answers_go_on_where_the_store_cannot_be_written(toy_bundle: Bundle, tmp_path: Path, key: Path) -> None:
    """A file stands where a folder should."""
    (tmp_path / "file").write_text("")
    wish = {"samples_url": tmp_path / "file" / "kept", "samples_key": key, "samples_random_share": 1}
    with sampling(toy_bundle, **wish) as server:
        assert ask(server, 50) == {200}
        eventually(lambda: counted(server, "rcnn_samples_dropped_total", reason="store") >= 1)
        assert ask(server, 50) == {200}
        assert httpx.get(f"{server.http_url}/readyz").status_code == 200
        assert counted(server, "rcnn_samples_total") == 0
        assert sum("samples cannot be kept" in line for line in server.log) == 1


@pytest.mark.slow
def test_what_a_candidate_sees_differently_is_kept(toy_bundle: Bundle, tmp_path: Path, key: Path) -> None:
    root = tmp_path / "candidate"
    root.mkdir()
    for name in ("detector.onnx", "mask_head.onnx"):
        (root / name).write_bytes(b"not a model: the fake engine needs none")
    candidate = write_bundle(root, {**MANIFEST, "labels": ["other", "thing"]})
    wish = {"samples_url": tmp_path / "kept", "samples_key": key, "samples_random_share": 0, "shadow_share": 1}
    with sampling(candidate) as other, sampling(toy_bundle, **wish, shadow_url=other.http_url) as server:
        assert ask(server) == {200}
        eventually(lambda: counted(server, "rcnn_samples_total", reason="disagreement") == 1)
    (line,) = rcnn("samples", "list", str(tmp_path / "kept"), "--key", str(key), "--json").stdout.splitlines()
    assert json.loads(line)["candidate_outcome"] == "relabelled"


@pytest.mark.slow
def test_samples_that_do_not_open_are_named(toy_bundle: Bundle, tmp_path: Path, key: Path) -> None:
    wish = {"samples_url": tmp_path / "kept", "samples_key": key, "samples_random_share": 1}
    with sampling(toy_bundle, **wish) as server:
        ask(server)
        eventually(lambda: counted(server, "rcnn_samples_total") == 1)
    (name,) = files(tmp_path / "kept")
    key.write_text(rcnn("samples", "key").stdout)
    for command in (("list",), ("show", "--out", str(tmp_path / "out"))):
        told = rcnn("samples", command[0], str(tmp_path / "kept"), "--key", str(key), *command[1:])
        assert told.returncode == 1 and f"{name}: sealed with another key" in told.stderr
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"RCNN_SAMPLES_URL": "kept"}, "samples_url asks for either samples_key"),
        ({"RCNN_SAMPLES_URL": "kept", "RCNN_SAMPLES_KEY": "missing.key"}, "missing.key cannot be read"),
        (
            {"RCNN_SAMPLES_URL": "kept", "RCNN_SAMPLES_UNENCRYPTED": "true", "RCNN_SAMPLES_BLUR": "thign"},
            "samples_blur: no model served here finds thign",
        ),
        ({"RCNN_SAMPLES_URL": "pigeon://loft", "RCNN_SAMPLES_UNENCRYPTED": "true"}, "Protocol not known: pigeon"),
    ],
)
def test_a_service_that_could_show_too_much_or_keep_nothing_does_not_start(
    toy_bundle: Bundle, wish: dict[str, str], said: str
) -> None:
    ports = {f"RCNN_{door}_PORT": "0" for door in ("HTTP", "GRPC", "METRICS")}
    engine = {"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(toy_bundle.root), "RCNN_HOST": "127.0.0.1"}
    refused = rcnn("serve", **ports, **engine, **wish)
    assert refused.returncode in (1, 2) and said in refused.stderr
