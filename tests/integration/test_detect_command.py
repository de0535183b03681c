"""`rcnn detect` as a shell runs it: every way in, every way out, and the exit code."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import structlog
from PIL import Image
from typer.testing import CliRunner

from service.bundle import Bundle
from service.cli import app
from tests.conftest import Served, encode_picture

Ended = subprocess.CompletedProcess[bytes]


def detect(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> Ended:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "detect", *map(str, arguments)],
        input=stdin, capture_output=True, env=os.environ | {"COLUMNS": "300"} | environment, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Eleven frames of growing width."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 12):
        (folder / f"frame{number}.png").write_bytes(encode_picture(60 + number, 64))
    return folder


def test_a_folder_of_frames_becomes_json_lines_in_order(fake_served: Served, frames: Path) -> None:
    """Several at once, yet one line a frame, in the order of the film; nothing else on standard output."""
    ended = detect(frames, "--url", fake_served.http_url, "--format", "jsonl", "--jobs", "4")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert [line["image"]["width"] for line in lines] == list(range(61, 72))
    assert lines[9]["file"].endswith("frame10.png") and "11 images in" in ended.stderr.decode()


def test_an_image_on_stdin_is_one_image(fake_served: Served) -> None:
    """As at the end of a pipe."""
    ended = detect("-", "--url", fake_served.http_url, stdin=encode_picture(64, 64))
    assert ended.returncode == 0 and ended.stdout.startswith(b"-: 1 thing (toy 1")


def test_bundles_of_ones_own_are_loaded_here(toy_bundle: Bundle, frames: Path) -> None:
    """--bundle needs no server, and every request option works as it does over REST."""
    image = frames / "frame1.png"
    ended = detect(image, "--bundle", toy_bundle.root, "--json", "--classes", "other", RCNN_ENGINE="fake")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["detections"] == []
    refused = detect(image, "--bundle", toy_bundle.root, "--classes", "cat, dog", RCNN_ENGINE="fake")
    assert refused.returncode == 1 and b"toy has no cat, dog; it has thing, other" in refused.stderr


def test_coco_results_are_what_pycocotools_loads(fake_served: Served, frames: Path, tmp_path: Path) -> None:
    """Ids by file name and category name of an annotation file; loadRes takes the list, masks included."""
    coco = pytest.importorskip("pycocotools.coco")
    images = [
        {"id": 100 + number, "file_name": f"frame{number}.png", "width": 60 + number, "height": 64}
        for number in range(1, 12)
    ]
    truth = {"info": {}, "images": images, "annotations": [], "categories": [{"id": 7, "name": "thing"}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    out = tmp_path / "results.json"
    url = fake_served.http_url
    ended = detect(frames, "--url", url, "--format", "coco", "--out", out, "--annotations", tmp_path / "truth.json")
    assert ended.returncode == 0, ended.stderr
    loaded = coco.COCO(str(tmp_path / "truth.json")).loadRes(str(out))
    assert sorted(loaded.getImgIds()) == list(range(101, 112))
    rows = loaded.loadAnns(loaded.getAnnIds(imgIds=[101]))
    (found,) = httpx.post(f"{url}/v1/detect", content=(frames / "frame1.png").read_bytes()).json()["detections"]
    x1, y1, x2, y2 = found["box"]
    assert [(row["category_id"], row["score"]) for row in rows] == [(7, found["score"])]
    assert rows[0]["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
    assert coco.maskUtils.area(rows[0]["segmentation"]) > 0


def test_coco_results_of_nothing_are_an_empty_list(fake_served: Served, frames: Path) -> None:
    """A whole JSON document even then."""
    ended = detect(frames, "--url", fake_served.http_url, "--format", "coco", "--score-threshold", "1")
    assert ended.returncode == 0 and json.loads(ended.stdout) == []


@pytest.mark.parametrize("where", ["server", "here"])
def test_pictures_are_drawn_for_every_image(
    where: str, fake_served: Served, toy_bundle: Bundle, frames: Path, tmp_path: Path
) -> None:
    """A PNG of the same size and name, with something drawn; the same picture from a server and in-process."""
    place = ["--url", fake_served.http_url] if where == "server" else ["--bundle", toy_bundle.root]
    ended = detect(frames, *place, "--format", "pictures", "--out", tmp_path / "drawn", RCNN_ENGINE="fake")
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted(p.name for p in frames.iterdir())
    drawn = np.asarray(Image.open(tmp_path / "drawn/frame7.png"))
    assert drawn.shape == (64, 67, 3) and len(np.unique(drawn)) > 1
    served = httpx.post(
        f"{fake_served.http_url}/v1/detect",
        content=(frames / "frame7.png").read_bytes(),
        headers={"Accept": "image/png"},
    )
    assert np.array_equal(drawn, np.asarray(Image.open(BytesIO(served.content))))


def test_failures_are_named_and_counted_and_the_rest_goes_on(fake_served: Served, frames: Path) -> None:
    """A file that is no image and one that is not there: exit 1, a line each, a summary; the others are answered."""
    (frames / "frame5.png").write_bytes(b"hello")
    ended = detect(frames, frames / "gone.png", "--url", fake_served.http_url, "--json")
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 10
    complaints = ended.stderr.decode()
    assert re.search(r"frame5\.png: 415 The content is not an accepted image", complaints)
    assert "gone.png: [Errno 2]" in complaints and "2 of 12 images failed" in complaints


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines(
    fake_served: Served, frames: Path, tmp_path: Path
) -> None:
    """Where the answers go to a file, standard error says how far it is, without any control characters."""
    ended = detect(frames, "--url", fake_served.http_url, "--json", "--out", tmp_path / "answers.jsonl")
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 11 and ended.stdout == b""
    assert b"detecting: 11 of 11 images" in ended.stderr and b"\x1b" not in ended.stderr


def test_on_a_terminal_progress_is_a_bar_and_the_pipe_stays_clean(fake_served: Served, frames: Path) -> None:
    """Standard error is a terminal, standard output a pipe: a bar on the one, nothing but answers in the other."""
    terminal, side = pty.openpty()
    command = [sys.executable, "-m", "service.cli", "detect", str(frames), "--url", fake_served.http_url, "--json"]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, env=environment) as process:
        os.close(side)
        shown = b""
        with suppress(OSError):  # a terminal without a program at its other end cannot be read
            while chunk := os.read(terminal, 4096):
                shown += chunk
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    os.close(terminal)
    assert process.returncode == 0
    assert [json.loads(line)["image"]["width"] for line in lines] == list(range(61, 72))
    assert "detecting" in shown.decode() and "11/11" in shown.decode() and "\x1b[" in shown.decode()


@contextmanager
def busy_service(refusals: int, retry_after: str) -> Iterator[tuple[str, list[int]]]:
    """A server that refuses the first requests with 429: its address, and how many were inside at each request."""
    lock, inside, seen = threading.Lock(), 0, list[int]()
    answer = {"model": {"name": "m", "version": "1"}, "detections": [], "timings_ms": {"total": 1.0}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal inside
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                inside += 1
                seen.append(inside)
                refused = len(seen) <= refusals
            threading.Event().wait(0.02)
            with lock:
                inside -= 1
            body = json.dumps({"detail": "too much work"} if refused else answer).encode()
            self.send_response(429 if refused else 200)
            if refused:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_refused_images_come_back_when_they_are_told_to(frames: Path) -> None:
    """Five refusals with Retry-After: every image is answered all the same, never more than --jobs at once."""
    with busy_service(5, "0.1") as (url, seen):
        ended = detect(frames, "--url", url, "--jobs", "3")
    assert ended.returncode == 0, ended.stderr
    assert len(seen) == 11 + 5 and max(seen) <= 3


def test_patience_ends(frames: Path) -> None:
    """Told to come back later than --timeout-s allows, the image fails with the service's own words."""
    with busy_service(10**6, "3600") as (url, seen):
        ended = detect(frames / "frame1.png", "--url", url, "--timeout-s", "5")
    assert ended.returncode == 1 and b"429 too much work" in ended.stderr and len(seen) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["nothing/*.png"], "nothing matches", id="glob"),
        pytest.param(["x.png", "--nms", "fuzzy"], "nms: Input should be", id="option"),
        pytest.param(["x.png", "--score-threshold", "2"], "score_threshold", id="range"),
        pytest.param(["x.png", "--format", "pictures"], "--out FOLDER", id="no folder"),
        pytest.param(["x.png", "--format", "coco", "--masks", "png"], "COCO results hold masks as rle", id="masks"),
        pytest.param(["x.png", "--url", "http://h", "--bundle", "b"], "exclude each other", id="two places"),
        pytest.param(["x.png", "--url", "localhost:8000"], "expected such as", id="no scheme"),
        pytest.param(["./x.png", "--format", "pictures", "--out", "."], "is one of the images", id="overwrite"),
        pytest.param(["a/x.png", "b/x.png", "--format", "pictures", "--out", "o"], "both become", id="same name"),
    ],
)
def test_a_line_that_means_nothing_is_a_usage_error(arguments: list[str], words: str) -> None:
    """Exit 2 before anything is asked, with what to change and no traceback."""
    ended = CliRunner().invoke(app, ["detect", *arguments], env={"COLUMNS": "300"})
    structlog.reset_defaults()  # the command sets up logging for a process of its own
    complaints = re.sub(r"[\s│]+", " ", ended.stderr)
    assert ended.exit_code == 2, complaints
    assert words in complaints and "Traceback" not in complaints


def test_a_bad_setting_is_one_clear_line(frames: Path) -> None:
    """Exit 2 with the setting's name and what it holds."""
    ended = detect(frames / "frame1.png", RCNN_MAX_IN_FLIGHT="many")
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines() == [
        "rcnn: setting max_in_flight: Input should be a valid integer, unable to parse string as an integer, got 'many'"
    ]
