"""
Cause a trouble here and see which alert tells of it: a game day for one.

    python -m deploy.drill queue-flood                     one drill; prints the runbook of the alert
    python -m deploy.drill queue-flood --pictures folder   and draws the dashboards as they look half a minute later
    python -m deploy.drill all                             all that take minutes, one after the other
    python -m deploy.drill quiet-hour                      an hour in which nobody may be told of anything

Service, Prometheus and Alertmanager are real and run on free loopback ports; rules and routes are those of the
deployment with every window sixty times as short, so that a second here is a minute there. The quiet hour takes one.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.alerts.rules import RUNBOOKS
from deploy.dashboards.__main__ import COMMITTED
from deploy.dashboards.pictures import Window, draw_all
from deploy.drill.alertmanager import NoAlertmanager
from deploy.drill.play import Play
from deploy.drill.prometheus import NoPrometheus
from deploy.drill.scenarios import DRILLS, Drill
from deploy.drill.stage import Stage, stage
from deploy.drill.told import Quiet, Told, as_expected, sentence
from service.logs import configure_logs

_POLL_S, _LINGER_S = 0.5, 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    configure_logs("warning", "console")
    names = [name for name in DRILLS if name != "quiet-hour"] if options.name == "all" else [options.name]
    all_told = True
    for name in names:
        print(f"{name}: {DRILLS[name].story}", flush=True)
        try:
            told = play_out(DRILLS[name], options.pictures)
        except (NoPrometheus, NoAlertmanager) as error:
            print(error, file=sys.stderr)
            return 2
        all_told &= as_expected(DRILLS[name], told)
        print(f"  {sentence(DRILLS[name], told)}\n", flush=True)
        if len(names) == 1 and DRILLS[name].alert:
            print(Path(RUNBOOKS, f"{DRILLS[name].alert}.md").read_text("utf-8"))
    return 0 if all_told else 1


def play_out(drill: Drill, pictures: Path | None = None) -> Told:
    """
    Calm, cause, and wait; then draw the dashboards into a folder, if one is named.

    Raises NoPrometheus, NoAlertmanager.
    """
    with stage(drill.speedup, drill.promised) as here:
        opened_s = time.time()
        play = Play(here)
        with drill.calm(play):
            began_s = time.time()
            with drill.cause(play):
                wait = _wait if drill.alert else _wait_in_silence
                told = wait(here, drill, began_s)
                if pictures is not None:
                    time.sleep(_LINGER_S)
                    draw_all(COMMITTED, here.prometheus, Window(opened_s, time.time(), 1.0, "4s"), pictures)
                return told


def _wait(here: Stage, drill: Drill, began_s: float) -> Told:
    """Until the alert fires and somebody is told, or the time is over."""
    while True:
        fired = here.prometheus.fired_since(began_s)  # also what came and went while the trouble was being made
        sent = here.alertmanager.told_of(drill.alert)
        if (drill.alert in fired and sent) or time.time() - began_s > drill.limit_s:
            after_s = fired.pop(drill.alert) - began_s if drill.alert in fired else None
            receiver, told_s = (sent.receiver, sent.at_s - began_s) if sent else ("", None)
            return Told(after_s, tuple(sorted(fired)), told_s, receiver)
        time.sleep(_POLL_S)


def _wait_in_silence(here: Stage, drill: Drill, began_s: float) -> Told:
    time.sleep(drill.limit_s)
    return Told(None, tuple(sorted(here.prometheus.fired_since(began_s))), quiet=_quiet(here, began_s))


def _quiet(here: Stage, began_s: float) -> Quiet:
    answered = here.prometheus.now('sum(rcnn_requests_total{outcome="ok"})')
    return Quiet(
        answered=int(answered[0].values[0]) if answered else 0,
        evaluations=here.prometheus.rule_evaluations(),
        faulty_rules=tuple(here.prometheus.rule_errors()),
        pending=tuple(sorted(here.prometheus.pending_since(began_s))),
        notifications=len(here.alertmanager.notifications),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*DRILLS, "all"])
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="where to draw the dashboards")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
