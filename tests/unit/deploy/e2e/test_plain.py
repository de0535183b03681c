"""A rollout without a controller, as far as its gate has come."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.e2e.kubernetes import Object
from deploy.e2e.plain import Plain
from tests.unit.deploy.e2e.test_engines import AnswersFrom

ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/e2e/httproutes/rcnn"


def split(weight: int) -> dict[str, Object]:
    backends = [{"name": "rcnn", "weight": 100 - weight}, {"name": "rcnn-next", "weight": weight}]
    return {ROUTE: {"spec": {"rules": [{"backendRefs": backends}]}}}


@pytest.mark.parametrize(("code", "phase"), [(0, "steady"), (1, "rolled back"), (3, "rolled back")])
def test_the_gate_s_exit_code_says_how_it_ended(code: int, phase: str, tmp_path: Path) -> None:
    plain = Plain(tmp_path, "fake")
    plain._gate = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])
    plain._gate.wait()
    assert plain.progress(AnswersFrom(split(0))).phase == phase


def test_while_the_gate_runs_it_is_moving_and_the_route_has_the_weight(tmp_path: Path) -> None:
    plain = Plain(tmp_path, "fake")
    plain._gate = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        progress = plain.progress(AnswersFrom(split(25)))
    finally:
        plain._gate.communicate(b"\n")
    assert (progress.weight, progress.phase) == (25, "moving")


def test_without_a_gate_nothing_moves(tmp_path: Path) -> None:
    assert Plain(tmp_path, "fake").progress(AnswersFrom({})).phase == "steady"
