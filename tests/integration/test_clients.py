"""Every file in docs/clients, run as it stands against the shipped models: each finds what the others find."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import ZOO, Served

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "docs/clients"
PROTO = ROOT / "service/api/grpc/proto"
IMAGE = sorted((ZOO / "nuclei/1/golden").glob("*.png"))[0]
Line = tuple[str, float, tuple[float, ...]]


@pytest.fixture(scope="module")
def expected(served: Served) -> list[Line]:
    """The detections, straight from the service."""
    url = f"{served.http_url}/v1/detect?score_threshold=0.5"
    rows = httpx.post(url, content=IMAGE.read_bytes(), timeout=60).raise_for_status().json()["detections"]
    assert rows
    return [(row["label"], row["score"], tuple(row["box"])) for row in rows]


def run(*command: str | Path, cwd: Path = CLIENTS, **environment: str) -> str:
    ended = subprocess.run(
        list(map(str, command)), cwd=cwd, env=os.environ | {"no_proxy": "*"} | environment,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def check(printed: str, expected: list[Line], label: str | None = None) -> None:
    """A line a detection, with the score to three digits and the box to one; label: what stands for every label."""
    lines = printed.splitlines()
    assert len(lines) == len(expected)
    for line, (name, score, box) in zip(lines, expected, strict=True):
        found, *numbers = line.split()
        assert found == (label or name)
        assert [float(number) for number in numbers] == pytest.approx([score, *box], abs=0.06)


def tool(name: str, advice: str) -> str:
    """A program's path; without one, skip, and fail where CI is set."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    return found


def test_curl(served: Served, expected: list[Line], tmp_path: Path) -> None:
    """The JSON on standard output, the picture beside it."""
    tool("curl", "no curl: `apt-get install curl`")
    printed = run("sh", CLIENTS / "curl.sh", served.http_url, IMAGE, cwd=tmp_path)
    rows = httpx.Response(200, text=printed).json()["detections"]
    assert [(row["label"], row["score"], tuple(row["box"])) for row in rows] == expected
    assert (tmp_path / "detected.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("client", ["python_requests.py", "python_httpx.py"])
def test_python_over_rest(client: str, served: Served, expected: list[Line]) -> None:
    """requests, and httpx with several images at once."""
    check(run(sys.executable, CLIENTS / client, served.http_url, IMAGE), expected)


def test_python_httpx_with_several_images(served: Served, expected: list[Line]) -> None:
    """The answers come in the order of the files."""
    check(run(sys.executable, CLIENTS / "python_httpx.py", served.http_url, IMAGE, IMAGE), expected * 2)


def test_a_refused_request_ends_in_the_services_own_words(served: Served) -> None:
    """An image that is none: the sentence, an exit code, no traceback."""
    for command in ([sys.executable, "python_requests.py"], [sys.executable, "python_httpx.py"]):
        ended = subprocess.run(
            [*command, served.http_url, str(CLIENTS / "README.md")],
            cwd=CLIENTS,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1 and "not an accepted image format" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_javascript_fetch(served: Served, expected: list[Line]) -> None:
    """Node's own fetch."""
    node = tool("node", "no node: `apt-get install nodejs`, 18 or newer")
    check(run(node, CLIENTS / "fetch.mjs", served.http_url, IMAGE), expected)


def test_python_over_grpc(served: Served, expected: list[Line], tmp_path: Path) -> None:
    """With stubs generated as the file's head says, nothing of this project on the path."""
    out = [f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    run(sys.executable, "-m", "grpc_tools.protoc", "-I", PROTO, *out, "detection.proto")
    shutil.copy(CLIENTS / "grpc_python.py", tmp_path)
    check(run(sys.executable, "grpc_python.py", served.grpc_address, IMAGE, cwd=tmp_path), expected)


@pytest.mark.slow  # the first run compiles grpc-go
def test_go_over_grpc(served: Served, expected: list[Line], tmp_path: Path) -> None:
    """Stubs by the pinned plugins, then built and run."""
    go = tool("go", "no go: install Go 1.26 or newer")
    shutil.copytree(CLIENTS / "go", tmp_path / "go", ignore=shutil.ignore_patterns("rcnnv1"))
    folder = tmp_path / "go"
    run(folder / "generate.sh", PROTO, cwd=folder, PROTOC=f"{sys.executable} -m grpc_tools.protoc")
    check(run(go, "run", ".", served.grpc_address, IMAGE, cwd=folder), expected)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_tritonclient(protocol: str, triton_python: Path, served: Served, expected: list[Line]) -> None:
    """The client as its maker ships it, in an environment of its own; labels come as numbers."""
    address = served.http_url.removeprefix("http://") if protocol == "http" else served.grpc_address
    printed = run(triton_python, CLIENTS / f"tritonclient_{protocol}.py", address, "nuclei", IMAGE)
    check(printed, expected, label="1")
