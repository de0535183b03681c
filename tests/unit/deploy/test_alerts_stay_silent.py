"""What happens to every service and is nobody's alarm: each alert has all its series before it, and says nothing."""

import re
import subprocess
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.pod_lives import MINUTES, Pod, Series, certificates, judge, notation

RULE_FILES = sorted((Path(__file__).parents[3] / "helm/rcnn/rules").glob("*.yaml"))
AT = 230
"""The minute in which it happens; for two hours after it, nothing may fire."""
BUSY = [600] * (MINUTES + 1)
IDLE = range(0)
METRIC = re.compile(r"\b(?:up|(?:rcnn[_:]|process_|kube_|certmanager_|probe_)[\w:]+)\b")


def night() -> list[Series]:
    """Twenty requests in six hours: one is refused, another slow."""
    twenty = [int(minute % 18 == 17) for minute in range(MINUTES + 1)]
    return [Pod("a", "1", twenty, {AT + 3: 1}, {AT + 21: 1}).series(), judge(IDLE)]


def scrape_gap() -> list[Series]:
    """For four minutes Prometheus cannot reach the only pod."""
    return [Pod("a", "1", BUSY, {}, {}, unseen=range(AT, AT + 4)).series(), judge(IDLE)]


def restart() -> list[Series]:
    """The only pod dies, is away for two minutes and counts from zero; its first answers are slow."""
    pod = Pod("a", "1", BUSY, {AT + 2: 5}, {AT + 2: 60}, unseen=(AT, AT + 1), restarts=(AT + 2,))
    return [pod.series(), judge(IDLE)]


def deploy() -> list[Series]:
    """Two pods become two of the next version, one after the other, while a judge looks on."""
    old = [
        Pod("a", "1", BUSY, {AT + 2: 3}, {}, there=range(AT + 3)),
        Pod("b", "1", BUSY, {AT + 6: 3}, {}, there=range(AT + 7)),
    ]
    new = [
        Pod("c", "2", BUSY, {}, {AT + 1: 60}, there=range(AT, MINUTES + 1), unseen=(AT,)),
        Pod("d", "2", BUSY, {}, {AT + 5: 60}, there=range(AT + 4, MINUTES + 1), unseen=(AT + 4,)),
    ]
    return [*(pod.series() for pod in (*old, *new)), judge(range(AT, AT + 20))]


SITUATIONS = {situation.__name__: situation for situation in (night, scrape_gap, restart, deploy)}


@cache
def rules() -> list[dict[str, Any]]:
    return [
        rule for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    ]


ALERTS = sorted(rule["alert"] for rule in rules() if "alert" in rule)


@cache
def recorded() -> dict[str, str]:
    """What each recorded series is made of; promises share their names."""
    made_of: dict[str, str] = {}
    for rule in rules():
        if "record" in rule:
            made_of[rule["record"]] = f"{made_of.get(rule['record'], '')}\n{rule['expr']}"
    return made_of


@cache
def read_by(expression: str) -> frozenset[str]:
    """The metrics behind an expression, recorded ones followed to what they are made of."""
    named = frozenset(METRIC.findall(re.sub(r'"[^"]*"', "", expression)))
    below = (read_by(recorded()[name]) for name in named & recorded().keys())
    return named - recorded().keys() | frozenset().union(*below)


def together(lives: list[Series]) -> Series:
    return reduce(lambda one, other: one | other, lives, certificates())


@cache
def series_of(situation: str) -> Series:
    return together(SITUATIONS[situation]())


def ask(promtool: str, series: Series, file: Path) -> "subprocess.CompletedProcess[str]":
    """Whether any alert fires in any minute of the last two hours."""
    silence = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "exp_samples": []}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": notation(values)} for name, values in series.items()],
        "promql_expr_test": [silence | {"eval_time": f"{minute}m"} for minute in range(MINUTES - 120, MINUTES)],
    }
    document = {"rule_files": [str(path) for path in RULE_FILES], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(document))
    return subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_everything_before_it_that_it_reads(alert: str, situation: str) -> None:
    (rule,) = (rule for rule in rules() if rule.get("alert") == alert)
    given = {name.partition("{")[0] for name in series_of(situation)}
    assert read_by(rule["expr"]) <= given


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_alert_fires(promtool: str, situation: str, tmp_path: Path) -> None:
    answer = ask(promtool, series_of(situation), tmp_path / "test.yaml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.slow
def test_the_same_series_with_more_of_it_make_alerts_fire(promtool: str, tmp_path: Path) -> None:
    """A pod that restarts three times in twenty minutes and then fails each third request."""
    failing = dict.fromkeys(range(AT + 12, AT + 40), 200)
    pod = Pod("a", "1", BUSY, failing, {}, unseen=(AT, AT + 5, AT + 11), restarts=(AT + 1, AT + 6, AT + 12))
    answer = ask(promtool, together([pod.series(), judge(IDLE)]), tmp_path / "test.yaml")
    fired = set(re.findall(r'alertname="(\w+)"', answer.stdout + answer.stderr))
    assert fired >= {"RcnnRestarting", "RcnnAvailabilityFastBurn", "RcnnShedding", "RcnnGateStarved"}
