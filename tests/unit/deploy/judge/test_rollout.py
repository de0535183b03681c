"""Weights of routes on a server that behaves as Kubernetes' does, moved by verdicts on counts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.judge.routes import Cluster, ClusterUnavailable, Route, RouteInvalid, Split, TakenOver
from deploy.judge.shadow_gate import Policy, judge
from deploy.judge.steps import Steps, climb, read_weights
from deploy.judge.verdict import Decision, Verdict
from tests.unit.deploy.judge.api_server import TOKEN, ApiServer, route, serving
from tests.unit.deploy.judge.test_shadow_gate import counts

GOOD = judge(counts(5000), Policy(), {})
BAD = judge(counts(500, errors=20), Policy(), {})
OPEN = judge(counts(500), Policy(), {})
UNFIT = judge(counts(500), Policy(), {}, ["Prometheus cannot be asked"])

BOTH = (Route("HTTPRoute", "vision", "rcnn"), Route("GRPCRoute", "vision", "rcnn"))


@pytest.fixture
def server() -> Iterator[ApiServer]:
    http = route("HTTPRoute", {"rcnn": 100, "next": 0}, {"next": 1})
    with serving(http, route("GRPCRoute", {"rcnn": 100, "next": 0})) as running:
        yield running


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def split(server: ApiServer, token_file: Path) -> Split:
    return Split(Cluster(server.url, token_file, attempts=5, pause_s=0), BOTH, "rcnn", "next")


def steps(undecided_means: Decision = Decision.UNDECIDED) -> Steps:
    return Steps((5, 25, 50), 0.0, 0.0, 0.0, undecided_means)


def climbed(split: Split, *verdicts: Verdict, undecided_means: Decision = Decision.UNDECIDED) -> Decision:
    seen = iter(verdicts)
    return climb(split, steps(undecided_means), lambda: next(seen), lambda _: None).decision


def test_a_good_release_gets_all_traffic_step_by_step(server: ApiServer, split: Split) -> None:
    assert climbed(split, GOOD, GOOD, GOOD) is Decision.PROMOTE
    assert server.weights == [5, 5, 25, 25, 50, 50, 100, 100]
    assert server.weight("grpcroutes") == 100
    assert server.weight(rule=0, name="rcnn") == 0


def test_a_bad_one_gets_none_at_once(server: ApiServer, split: Split) -> None:
    assert climbed(split, GOOD, BAD) is Decision.ROLLBACK
    assert server.weights == [5, 5, 25, 25, 0, 0]
    assert server.weight(name="rcnn") == 100


def test_a_rule_that_names_only_the_candidate_is_left_alone(server: ApiServer, split: Split) -> None:
    """A header for testers leads there, whatever the weights."""
    climbed(split, BAD)
    assert server.weight(rule=1) == 1


@pytest.mark.parametrize(
    "verdict, means, decision, weights",
    [
        (OPEN, Decision.UNDECIDED, Decision.UNDECIDED, [5, 0]),
        (OPEN, Decision.ROLLBACK, Decision.ROLLBACK, [5, 0]),
        (OPEN, Decision.PROMOTE, Decision.PROMOTE, [5, 25, 50, 100]),
        (UNFIT, Decision.PROMOTE, Decision.UNDECIDED, [5, 0]),
    ],
)
def test_the_horizon_follows_its_policy_but_never_promotes_what_nobody_saw(
    server: ApiServer, split: Split, verdict: Verdict, means: Decision, decision: Decision, weights: list[int]
) -> None:
    assert climbed(split, verdict, verdict, verdict, undecided_means=means) is decision
    assert server.weights[::2] == weights


def test_a_change_made_meanwhile_is_not_overwritten_but_made_anew(server: ApiServer, split: Split) -> None:
    def label() -> None:
        server.before_patch = lambda: None
        server.write(0)
        server.objects[BOTH[0].path]["metadata"]["labels"] = {"theirs": "kept"}

    server.before_patch = label
    split.shift(5, 0)
    assert server.conflicts == 1
    assert server.weight() == 5
    assert server.objects[BOTH[0].path]["metadata"]["labels"] == {"theirs": "kept"}


def test_weights_somebody_else_has_set_are_left_as_they_are(server: ApiServer, split: Split) -> None:
    """A person who takes traffic away is not argued with."""

    def look() -> Verdict:
        server.write(0)
        return GOOD

    with pytest.raises(TakenOver, match="has the weight 0, not 5"):
        climb(split, steps(), look, lambda _: None)
    assert server.weight() == 0


def test_an_api_server_that_fails_for_a_while_is_asked_again(server: ApiServer, split: Split) -> None:
    server.failing = 3
    split.shift(5)
    assert (server.weight(), server.weight("grpcroutes")) == (5, 5)


def test_one_that_stays_away_is_reported(server: ApiServer, split: Split) -> None:
    server.failing = 1000
    with pytest.raises(ClusterUnavailable, match="500"):
        split.shift(5)


def test_whatever_breaks_leaves_stable_in_charge(server: ApiServer, split: Split) -> None:
    with pytest.raises(ZeroDivisionError):
        climb(split, steps(), lambda: 1 // 0, lambda _: None)  # type: ignore[arg-type, return-value]
    assert (server.weight(), server.weight("grpcroutes")) == (0, 0)


def test_a_route_that_cannot_be_changed_does_not_keep_traffic_on_another(server: ApiServer, split: Split) -> None:
    split.shift(50)
    del server.objects[BOTH[0].path]
    with pytest.raises(RouteInvalid, match="404"):
        split.shift(0)
    assert server.weight("grpcroutes") == 0


@pytest.mark.parametrize(
    "broken, words",
    [
        (route("HTTPRoute", {"rcnn": 100}), "backendRefs are rcnn and next"),
        (route("HTTPRoute", {"rcnn": 1, "next": 1, "other": 1}), "alone"),
        (
            route(
                "HTTPRoute",
                {"rcnn": 100, "next": 0},
                status={
                    "parents": [{"conditions": [{"type": "ResolvedRefs", "status": "False", "message": "no next"}]}]
                },
            ),
            "ResolvedRefs is False: no next",
        ),
    ],
)
def test_a_route_that_would_not_split_traffic_is_refused(
    broken: dict[str, object], words: str, token_file: Path
) -> None:
    with serving(broken) as server, pytest.raises(RouteInvalid, match=words):
        Split(Cluster(server.url, token_file), BOTH[:1], "rcnn", "next").check()


def test_a_wrong_token_is_refused_at_once(server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("stale")
    with pytest.raises(RouteInvalid, match="401"):
        Split(Cluster(server.url, tmp_path / "other"), BOTH, "rcnn", "next").check()


@pytest.mark.parametrize("text", ["", "0,50", "50,25", "5,5", "50,101", "100", "x"])
def test_weights_that_are_no_steps_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_weights(text)
    assert read_weights("5,25,50,100") == read_weights("5,25,50") == (5, 25, 50)


def test_sigterm_leaves_stable_in_charge(server: ApiServer, token_file: Path) -> None:
    """The whole command, without a Prometheus: it waits at the first weight until it is stopped."""
    flags = ["--namespace=vision", "--stable=rcnn", "--canary=next", "--http-route=rcnn", "--every-s=0.1"]
    flags += ["--prometheus=http://127.0.0.1:9", "--candidate=v2", f"--api={server.url}", f"--token-file={token_file}"]
    command = [sys.executable, "-m", "service.cli", "gate", "rollout", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 60
    while server.weight() != 5:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, server.weight(), server.weight(name="rcnn")) == (3, 0, 100)
    assert "stopped from outside" in said
