"""`rcnn gate watch` and its server on real shadow traffic, counted by real servers and scraped by a real Prometheus."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.judge.prometheus import Prometheus
from deploy.judge.server import create_server
from deploy.judge.shadow_gate import Policy
from deploy.judge.verdict import Decision
from deploy.judge.watch import Rollout, at_horizon, look
from service.bundle import Bundle
from tests.conftest import Served, encode_picture, run_server
from tests.ports import free_port, nobody
from tests.unit.deploy.judge.api_server import TOKEN, route, serving

pytestmark = pytest.mark.slow  # hundreds of requests, several servers
PATIENCE_S = 60.0
LENIENT = Policy(errors=0.1, disagreement=0.2, slower=0.98)  # decided by few pairs; machines that run tests are busy
PAIRS = 100


@contextmanager
def shadowing(bundle: Bundle, url: str, name: str) -> Iterator[Served]:
    shadow = {"RCNN_SHADOW_URL": url, "RCNN_SHADOW_SHARE": "1", "RCNN_SHADOW_CANDIDATE": name}
    engine = {"RCNN_ENGINE": "fake", "RCNN_FAKE_ENGINE_DELAY_MS": "20", "RCNN_BUNDLES": str(bundle.root)}
    with run_server({**engine, **shadow}) as server:
        yield server


@pytest.fixture(scope="module")
def stable(toy_bundle: Bundle, fake_served: Served) -> Iterator[list[Served]]:
    """One pod shadowing a good candidate, one shadowing a candidate that is down; both with traffic behind them."""
    with (
        nobody() as nowhere,
        shadowing(toy_bundle, fake_served.http_url, "good") as one,
        shadowing(toy_bundle, nowhere, "down") as other,
    ):
        image = encode_picture(100, 60)
        with httpx.Client(timeout=60) as client:
            for _ in range(PAIRS):
                for server in (one, other):
                    client.post(f"{server.http_url}/v1/detect", content=image).raise_for_status()
        yield [one, other]


class RunningPrometheus:
    """A real one, that can be stopped and started again on its data."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self._address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self._address}"
        self._folder = folder
        pods = [target.removeprefix("http://") for target in targets]
        job = {"job_name": "rcnn", "static_configs": [{"targets": pods}]}
        document = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (folder / "prometheus.yml").write_text(json.dumps(document))  # JSON is YAML

    def start(self) -> None:
        flags = [f"--config.file={self._folder}/prometheus.yml", f"--storage.tsdb.path={self._folder}/data"]
        command = ["prometheus", *flags, f"--web.listen-address={self._address}", "--log.level=error"]
        self._process = subprocess.Popen(command)
        end = time.monotonic() + PATIENCE_S
        while not self._counts():
            assert time.monotonic() < end, "Prometheus has not scraped everything in time"
            time.sleep(0.2)

    def _counts(self) -> bool:
        """Whether every pair made by now has been scraped."""
        query = {"query": "sum by (candidate) (rcnn_shadow_pairs_total)"}
        try:
            rows = httpx.get(f"{self.url}/api/v1/query", params=query).json()["data"]["result"]
        except (httpx.HTTPError, ValueError, KeyError):
            return False
        return len(rows) == 2 and all(float(row["value"][1]) >= PAIRS for row in rows)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def prometheus(stable: list[Served], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    if shutil.which("prometheus") is None:
        if os.environ.get("CI"):
            pytest.fail("no Prometheus: make tools")
        pytest.skip("no Prometheus: make tools")
    server = RunningPrometheus(tmp_path_factory.mktemp("prometheus"), [pod.metrics_url for pod in stable])
    server.start()
    yield server
    server.stop()


def gate(*command: str) -> tuple[int, dict[str, Any]]:
    ran = subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()", "gate", *command, "--json"],
        capture_output=True,
        text=True,
    )
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def verdict(prometheus: RunningPrometheus, candidate: str, **rollout: Any) -> Any:
    now = time.time()
    return look(Prometheus(prometheus.url), Rollout(candidate, **rollout), LENIENT, now - 600, now)


def test_a_candidate_that_sees_the_same_is_promoted_on_whole_counts(prometheus: RunningPrometheus) -> None:
    found = verdict(prometheus, "good")
    assert found.decision is Decision.PROMOTE, found.reasons
    assert found.subject["images"] == {"agree": PAIRS}


def test_a_report_is_told_every_object_by_class_and_size_and_the_work_of_both(prometheus: RunningPrometheus) -> None:
    now, agreed = time.time(), verdict(prometheus, "good").subject["objects"]["agree"]
    details = Prometheus(prometheus.url).shadow_details("good", "", now - 600, now)
    assert sum(counts["agree"] for counts in details.by_class.values()) == agreed > 0
    assert sum(counts["agree"] for counts in details.by_size.values()) == agreed
    assert sum(details.differences["overlap of the boxes"].counts) == agreed
    assert [sum(details.work_s[side].counts) for side in ("stable", "candidate")] == [PAIRS, PAIRS]


def test_the_command_rolls_back_a_candidate_that_is_down_and_says_so(
    prometheus: RunningPrometheus, tmp_path: Path
) -> None:
    since = str(time.time() - 600)
    options = ["--candidate", "down", "--since", since, "--out", str(tmp_path)]
    code, found = gate("watch", "--prometheus", prometheus.url, *options)
    assert (code, found["decision"]) == (1, "rollback")
    assert found["subject"]["images"] == {"candidate_error": PAIRS}
    assert "rollback" in (tmp_path / "report.html").read_text()


def test_a_rollout_takes_traffic_back_on_real_evidence(prometheus: RunningPrometheus, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    options = ["--candidate", "down", "--since", str(time.time() - 600), "--prometheus", prometheus.url]
    options += ["--namespace", "vision", "--stable", "rcnn", "--canary", "next", "--http-route", "rcnn"]
    with serving(route("HTTPRoute", {"rcnn": 100, "next": 0})) as kubernetes:
        account = ["--api", kubernetes.url, "--token-file", str(tmp_path / "token")]
        code, found = gate("rollout", *options, *account)
        assert (code, found["decision"]) == (1, "rollback")
        assert found["subject"]["images"] == {"candidate_error": PAIRS}
        assert kubernetes.weights == [5, 0]


def test_a_share_other_than_stated_and_a_warm_up_decide_nothing(prometheus: RunningPrometheus) -> None:
    now, asked = time.time(), Rollout("down")
    stated = look(Prometheus(prometheus.url), asked, replace(LENIENT, share=0.1), now - 600, now)
    assert stated.decision is Decision.UNDECIDED and "100.000%" in stated.unfit[0]
    assert verdict(prometheus, "down", warm_up_s=600.0).unfit[0].startswith("warming up")
    assert verdict(prometheus, "down", warm_up_s=0.0).decision is Decision.ROLLBACK


def test_the_stable_twin_sets_the_floor(prometheus: RunningPrometheus) -> None:
    found = verdict(prometheus, "good", twin="good")
    assert 0 < found.subject["floor"] < 0.2
    assert verdict(prometheus, "good", twin="unheard-of").decision is Decision.UNDECIDED


def test_a_candidate_nobody_shadows_is_undecided_and_not_rolled_back(prometheus: RunningPrometheus) -> None:
    options = ["--candidate", "unheard-of", "--horizon-minutes", "0.01", "--every-s", "0.2"]
    code, found = gate("watch", "--prometheus", prometheus.url, *options, "--undecided-means", "rollback")
    assert (code, found["decision"]) == (3, "undecided")
    assert "is it shadowed" in found["unfit"][0]


def told_of(url: str) -> dict[str, tuple[float, float]]:
    """Of each decision, as Prometheus' own parser reads it: how often it was given, and whether it was the last."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    values = {(sample.name, sample.labels.get("decision", "")): sample.value for sample in samples}
    return {
        decision: (values["rcnn_gate_verdicts_total", decision], values["rcnn_gate_decision", decision])
        for decision in Decision
    }


def test_controllers_are_answered_in_their_own_words(prometheus: RunningPrometheus) -> None:
    server = create_server("127.0.0.1", 0, Prometheus(prometheus.url), LENIENT, "", 600)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    def webhook(kind: str, candidate: str) -> int:
        body = {"name": "rcnn", "namespace": "vision", "phase": "Progressing", "metadata": {"candidate": candidate}}
        return httpx.post(f"{url}/flagger/{kind}", json=body).status_code

    try:
        assert httpx.get(f"{url}/verdict", params={"candidate": "good"}).json()["decision"] == "promote"
        assert httpx.get(f"{url}/verdict", params={"candidate": "down"}).json()["decision"] == "rollback"
        assert httpx.get(f"{url}/verdict", params={"candidate": "unheard-of"}).json()["decision"] == "undecided"
        assert httpx.get(f"{url}/verdict", params={"candidate": 'x"} or up{y="'}).status_code == 400
        assert [webhook("rollback", name) for name in ("good", "down", "unheard-of")] == [403, 200, 403]
        assert [webhook("confirm", name) for name in ("good", "down", "unheard-of")] == [200, 403, 403]
        assert webhook("other", "good") == 404
        assert told_of(url) == {"promote": (3, 0), "rollback": (3, 0), "undecided": (3, 1)}
        assert "rcnn_gate_unfit_verdicts_total 3.0" in httpx.get(f"{url}/metrics").text
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_while_prometheus_is_down_the_answer_is_undecided_and_after_it_the_same_as_before(
    prometheus: RunningPrometheus,
) -> None:
    before = verdict(prometheus, "down")
    prometheus.stop()
    during = verdict(prometheus, "down")
    prometheus.start()
    after = verdict(prometheus, "down")
    assert before.decision is after.decision is Decision.ROLLBACK
    assert during.decision is Decision.UNDECIDED
    assert "Prometheus cannot be asked" in during.reasons[0]
    assert at_horizon(during, Decision.ROLLBACK).decision is Decision.UNDECIDED
    assert after.subject["images"] == before.subject["images"]
