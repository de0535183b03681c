"""The example's routes, groups and inhibition, as a real Alertmanager carries them out."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.drill.alertmanager import Alertmanager, NoAlertmanager, running_alertmanager

SPEEDUP = 60
_PATIENCE_S = 30.0


def alert(name: str, severity: str = "ticket", **labels: str) -> dict[str, str]:
    return {"alertname": name, "severity": severity, "namespace": "vision", "job": "rcnn"} | labels


@pytest.fixture
def manager(amtool: str, tmp_path: Path) -> Iterator[Alertmanager]:
    with running_alertmanager(tmp_path, SPEEDUP) as running:
        yield running


def sent(manager: Alertmanager) -> list[tuple[str, tuple[str, ...]]]:
    """Who was told what, once each."""
    return sorted({(one.receiver, tuple(sorted(one.names))) for one in manager.notifications})


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "nobody was told in time"
        time.sleep(0.1)


def test_amtool_finds_nothing_wrong_with_the_example(amtool: str) -> None:
    example = Path(__file__).parents[3] / "deploy/alerts/alertmanager.yaml"
    checked = subprocess.run([amtool, "check-config", example], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_a_page_wakes_somebody_and_two_pods_in_one_trouble_are_one_ticket(manager: Alertmanager) -> None:
    both = [alert("RcnnPodDown", instance=pod) for pod in ("a", "b")]
    manager.raise_alerts([alert("RcnnAvailabilityFastBurn", "page"), *both])
    until(lambda: len(manager.notifications) == 2)
    page, ticket = sorted(manager.notifications, key=lambda one: one.receiver)
    assert (page.receiver, page.names) == ("pager", {"RcnnAvailabilityFastBurn"})
    assert ticket.receiver == "tickets" and {labels["instance"] for labels in ticket.firing} == {"a", "b"}


@pytest.mark.slow
def test_what_follows_from_something_worse_is_kept_quiet_and_the_rest_is_told(manager: Alertmanager) -> None:
    """What is not told has had its chance: the last alert is raised after all others and waits as long as they."""
    gone, slow = {"job": "gone"}, {"model": "nuclei"}
    manager.raise_alerts(
        [
            alert("RcnnGone", "page", **gone),
            alert("RcnnShedding", **gone),
            alert("RcnnAvailabilityFastBurn", "page", **gone),
            alert("RcnnLatencyFastBurn", "page", **slow),
            alert("RcnnLatencySlowBurn", **slow),
            alert("RcnnMedianLatencySlowBurn", model="blood-cells"),
            alert("RcnnOutOfMemory", pod="p"),
            alert("RcnnRestarting", pod="p"),
            alert("RcnnBudgetHalfSpent", action="pause-deploys"),
        ]
    )
    manager.raise_alerts([alert("RcnnDrift")])
    until(lambda: manager.told_of("RcnnDrift") is not None and len(manager.notifications) >= 7)
    assert sent(manager) == [
        ("deploys", ("RcnnBudgetHalfSpent",)),
        ("pager", ("RcnnGone",)),
        ("pager", ("RcnnLatencyFastBurn",)),
        ("tickets", ("RcnnBudgetHalfSpent",)),
        ("tickets", ("RcnnDrift",)),
        ("tickets", ("RcnnMedianLatencySlowBurn",)),
        ("tickets", ("RcnnOutOfMemory",)),
    ]


def test_without_alertmanager_the_advice_is_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoAlertmanager, match="run make tools"), running_alertmanager(tmp_path, SPEEDUP):
        pass
