"""Game days: what each causes, what it expects, and that it does happen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.alerts.rules import RUNBOOKS
from deploy.dashboards.pictures import Window, draw_all
from deploy.drill.__main__ import main, play_out
from deploy.drill.prometheus import running_prometheus
from deploy.drill.scenarios import DRILLS
from deploy.drill.told import Quiet, Told, as_expected, sentence

ROOT = Path(__file__).parents[3]


def test_every_drill_expects_an_alert_there_is_with_a_runbook_to_print() -> None:
    files = (ROOT / "helm/rcnn/rules").glob("*.yaml")
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    expected = {drill.alert for drill in DRILLS.values() if drill.alert}
    assert expected <= alerts
    assert all((ROOT / RUNBOOKS / f"{name}.md").is_file() for name in expected)


LOOKED = Quiet(answered=60, evaluations=4000, faulty_rules=(), pending=(), notifications=0)


def test_a_drill_is_passed_by_its_alert_and_by_somebody_being_told() -> None:
    flood = DRILLS["queue-flood"]
    told = Told(9.6, ("RcnnShedding",), 10.4, "tickets")
    assert as_expected(flood, told)
    assert not as_expected(flood, Told(9.6, ("RcnnShedding",)))
    assert not as_expected(flood, Told(None, ("RcnnShedding",)))
    assert sentence(flood, told) == (
        "RcnnQueueStanding fired after 10 s, in a deployment 10 min; tickets told after 10 s; beside it RcnnShedding"
    )
    assert "NOBODY was told" in sentence(flood, Told(9.6, ()))
    assert sentence(flood, Told(None, ())) == "RcnnQueueStanding did NOT fire within 90 s"


def test_a_quiet_drill_is_passed_by_a_silence_in_which_somebody_looked() -> None:
    quiet = DRILLS["quiet"]
    assert as_expected(quiet, Told(None, (), quiet=LOOKED))
    assert not as_expected(quiet, Told(None, ("RcnnShedding",), quiet=LOOKED))
    assert not as_expected(quiet, Told(None, ()))
    for deaf in ({"answered": 0}, {"evaluations": 0}, {"faulty_rules": ("RcnnGone",)}, {"notifications": 1}):
        assert not as_expected(quiet, Told(None, (), quiet=replace(LOOKED, **deaf))), deaf  # type: ignore[arg-type]
    assert sentence(quiet, Told(None, ())) == "nothing fired in 60 s"
    assert sentence(quiet, Told(None, (), quiet=LOOKED)) == (
        "nothing fired in 60 s; none was even pending; 0 notifications, 60 requests answered, 4000 evaluations of rules"
    )


def test_the_quiet_hour_is_an_hour_in_real_time_under_rules_of_full_length() -> None:
    hour = DRILLS["quiet-hour"]
    assert (hour.limit_s, hour.speedup, hour.alert) == (3600, 1, "")


def test_an_unknown_drill_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fire"])
    assert stopped.value.code == 2
    assert "queue-flood" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["error-burst", "gpu-loss"])
def test_the_alert_tells_of_the_trouble(prometheus: str, name: str) -> None:
    """A real service and a real Prometheus; the alert, and no other page."""
    told = play_out(DRILLS[name])
    assert told.fired_after_s is not None, told
    assert told.notified_after_s is not None, told
    assert "RcnnGone" not in told.beside


@pytest.mark.slow
def test_a_dashboard_without_any_data_is_drawn_all_the_same(prometheus: str, tmp_path: Path) -> None:
    """A picture of nothing says so in every panel; a query that does not parse is an error in Prometheus' words."""
    boards = ROOT / "helm/rcnn/dashboards"
    with running_prometheus(tmp_path, [], []) as empty:
        drawn = draw_all(boards, empty, Window(1000.0, 1060.0, 1.0, "4s"), tmp_path / "out")
        assert {path.stem for path in drawn} == {json.loads(path.read_text())["uid"] for path in boards.glob("*.json")}
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
        with pytest.raises(ValueError, match="parse error"):
            empty.now("sum(")
