"""Errors of split traffic, read from a real Prometheus by the commands and the server that carry a release."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.judge.prometheus import Prometheus
from deploy.judge.server import create_server
from deploy.judge.shadow_gate import Policy
from tests.patience import eventually
from tests.ports import free_port
from tests.unit.deploy.judge.api_server import TOKEN, route, serving

pytestmark = pytest.mark.slow  # a Prometheus, and three commands
MINUTES, SCRAPE_S = 20, 15
Counter = Callable[[int], float | None]


def pod(name: str, release: str, ok: Counter, failed: Counter, job: str) -> dict[str, Counter]:
    """What its counters say so many seconds after the start; None: it is not there."""
    where = f'namespace="vision",job="{job}",pod="{name}"'
    request = f'rcnn_requests_total{{{where},model="toy",version="1",protocol="rest",outcome='
    return {
        f'{request}"ok"}}': ok,
        f'{request}"engine_failed"}}': failed,
        f'{request}"undecodable_image"}}': lambda at: ok(at),  # nobody's errors but the callers'
        f'rcnn_release_info{{{where},release="{release}"}}': lambda at: None if ok(at) is None else 1.0,
    }


def rising(per_s: float, since: int = 0, until: int = 10**6, restarts: tuple[int, ...] = ()) -> Counter:
    def value(at: int) -> float | None:
        began = max((each for each in restarts if each <= at), default=since)
        return per_s * (at - began) if since <= at <= until else None

    return value


def split(job: str, own_per_s: float, other_per_s: float) -> dict[str, Counter]:
    """Two stable pods at 10 requests a second, one restarts and one goes; a candidate comes, at 1 a second."""
    restarts, comes = (400, 900), 60
    return {
        **pod("a", "v1", rising(10, restarts=restarts), rising(other_per_s, restarts=restarts), job),
        **pod("b", "v1", rising(10, until=700), rising(other_per_s, until=700), job),
        **pod("c", "v2", rising(1, comes), rising(own_per_s, comes), job),
    }


SERIES = {**split("bad", 0.05, 0.01), **split("same", 0.05, 0.5)}  # at "same" everybody's requests fail


@pytest.fixture(scope="module")
def start() -> float:
    return time.time() // 30 * 30 - MINUTES * 60


@pytest.fixture(scope="module")
def prometheus(start: float, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Started on what it would have scraped."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Prometheus: make tools")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text("{}")
    lines = []
    for kind, type in (("rcnn_requests", "counter"), ("rcnn_release_info", "gauge")):
        lines.append(f"# TYPE {kind} {type}")
        for name, value in SERIES.items():
            if name.startswith(kind):
                seen = ((at, value(at)) for at in range(0, MINUTES * 60, SCRAPE_S))
                lines += [f"{name} {count:g} {start + at:.0f}" for at, count in seen if count is not None]
    (folder / "scraped.txt").write_text("\n".join([*lines, "# EOF", ""]))
    data = folder / "data"
    backfill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "scraped.txt"), str(data)]
    subprocess.run(backfill, check=True, capture_output=True)
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={data}", "--log.level=error"]
    process = subprocess.Popen(["prometheus", *flags, f"--web.listen-address={address}"])
    eventually(lambda: is_ready(f"http://{address}"))
    yield f"http://{address}"
    process.terminate()
    process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").is_success
    except httpx.HTTPError:
        return False


def gate(*command: str) -> tuple[int, dict[str, Any]]:
    program = [sys.executable, "-c", "from service.cli import main; main()", "gate", *command, "--json"]
    ran = subprocess.run(program, capture_output=True, text=True)
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def about(job: str, start: float, prometheus: str) -> list[str]:
    asked = ["--prometheus", prometheus, "--candidate", "v2", "--selector", f'job="{job}"', "--since", str(start)]
    return [*asked, "--horizon-minutes", "0.01", "--every-s", "0.1"]


def test_every_request_is_counted_once_over_restarts_and_pods_that_go(prometheus: str, start: float) -> None:
    """Less what a pod counts between its last scrape and its end, and nothing else."""
    arms = Prometheus(prometheus).arms("v2", 'job="bad"', start, start + MINUTES * 60, 30.0)
    own, own_errors, others, other_errors = arms.counts.sum(0)
    last = MINUTES * 60 - 30  # the end of the last window that no scrape under way can change
    assert own == pytest.approx((last - 60) * 1.05, abs=1e-6)
    assert own_errors == pytest.approx((last - 60) * 0.05, abs=1e-6)
    b = 690 * 10.01  # last scraped there before it went at 700
    least = (390 + 870 - 405 + last - 915) * 10.01 + b  # of a, what is certain about windows with its two restarts
    most = (400 + 900 - 400 + last - 900) * 10.01 + b
    assert least <= others <= most
    assert other_errors / others == pytest.approx(0.01 / 10.01, rel=1e-6)


def test_a_candidate_whose_requests_fail_more_often_is_rolled_back_without_a_single_pair(
    prometheus: str, start: float, tmp_path: Path
) -> None:
    code, found = gate("watch", *about("bad", start, prometheus), "--out", str(tmp_path))
    assert (code, found["decision"]) == (1, "rollback")
    assert "1.25 times the others' are allowed" in found["reasons"][0]
    assert "split errors" in (tmp_path / "report.html").read_text()


def test_a_candidate_that_fails_as_often_as_everybody_is_not(prometheus: str, start: float) -> None:
    code, found = gate("watch", *about("same", start, prometheus))
    assert (code, found["decision"]) == (3, "undecided")
    assert found["subject"]["arms"]["errors"] > 50
    assert "is it shadowed" in found["unfit"][0]


def test_a_rollout_takes_its_traffic_back(prometheus: str, start: float, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    options = ["--namespace", "vision", "--stable", "rcnn", "--canary", "next", "--http-route", "rcnn"]
    with serving(route("HTTPRoute", {"rcnn": 100, "next": 0})) as kubernetes:
        account = ["--api", kubernetes.url, "--token-file", str(tmp_path / "token")]
        code, found = gate("rollout", *about("bad", start, prometheus), *options, *account, "--out", str(tmp_path))
        assert (code, found["decision"]) == (1, "rollback")
        assert kubernetes.weights == [5, 0]
    assert "split errors" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("job, decision, hook", [("bad", "rollback", 200), ("same", "undecided", 403)])
def test_controllers_are_told_the_same(prometheus: str, job: str, decision: str, hook: int) -> None:
    server = create_server("127.0.0.1", 0, Prometheus(prometheus), Policy(), f'job="{job}"', MINUTES * 60.0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url, asked = f"http://127.0.0.1:{server.server_address[1]}", {"metadata": {"candidate": "v2"}}
    try:
        assert httpx.get(f"{url}/verdict", params={"candidate": "v2"}, timeout=30).json()["decision"] == decision
        assert httpx.post(f"{url}/flagger/rollback", json=asked, timeout=30).status_code == hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
