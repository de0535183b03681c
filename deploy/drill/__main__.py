"""
Cause a trouble here and see which alert tells of it: a game day for one.

    python -m deploy.drill queue-flood                     one drill; prints the runbook of the alert
    python -m deploy.drill queue-flood --pictures folder   and draws the dashboards as they look half a minute later
    python -m deploy.drill all                             all of them, one after the other

Service and Prometheus are real and run on free loopback ports; the rules are those of the chart with every window sixty
times as short, so that a second here is a minute in a deployment.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.alerts.rules import RUNBOOKS
from deploy.dashboards.__main__ import COMMITTED
from deploy.dashboards.pictures import Window, draw_all
from deploy.drill.play import Play
from deploy.drill.prometheus import NoPrometheus, Prometheus
from deploy.drill.scenarios import DRILLS, Drill
from deploy.drill.stage import SPEEDUP, stage
from service.logs import configure_logs

_POLL_S, _LINGER_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """How a drill ended. Seconds count from the moment the trouble began; None where nothing told of it."""

    fired_after_s: float | None
    beside: tuple[str, ...]
    """Other alerts that fired by then."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    configure_logs("warning", "console")
    names = list(DRILLS) if options.name == "all" else [options.name]
    all_told = True
    for name in names:
        print(f"{name}: {DRILLS[name].story}", flush=True)
        try:
            told = play_out(DRILLS[name], options.pictures)
        except NoPrometheus as error:
            print(error, file=sys.stderr)
            return 2
        all_told &= as_expected(DRILLS[name], told)
        print(f"  {sentence(DRILLS[name], told)}\n", flush=True)
        if len(names) == 1 and DRILLS[name].alert:
            print(Path(RUNBOOKS, f"{DRILLS[name].alert}.md").read_text("utf-8"))
    return 0 if all_told else 1


def play_out(drill: Drill, pictures: Path | None = None) -> Told:
    """Calm, cause, and wait; then draw the dashboards into a folder, if one is named. Raises NoPrometheus."""
    with stage() as here:
        opened_s = time.time()
        play = Play(here)
        with drill.calm(play):
            began_s = time.time()
            with drill.cause(play):
                told = _wait(here.prometheus, drill, began_s)
                if pictures is not None:
                    time.sleep(_LINGER_S)
                    draw_all(COMMITTED, here.prometheus, Window(opened_s, time.time(), 1.0, "4s"), pictures)
                return told


def _wait(prometheus: Prometheus, drill: Drill, began_s: float) -> Told:
    """Until the alert fires or the time is over; for silence, until the time is over."""
    while True:
        fired = prometheus.fired_since(began_s)  # also what came and went while the trouble was being made
        if drill.alert in fired:
            return Told(fired.pop(drill.alert) - began_s, tuple(sorted(fired)))
        if time.time() - began_s > drill.limit_s:
            return Told(None, tuple(sorted(fired)))
        time.sleep(_POLL_S)


def as_expected(drill: Drill, told: Told) -> bool:
    """The alert told of the trouble; or, where there was none, nothing did."""
    return told.fired_after_s is not None if drill.alert else not told.beside


def sentence(drill: Drill, told: Told) -> str:
    """What happened, in a line."""
    beside = f"; beside it {', '.join(told.beside)}" if told.beside else ""
    if not drill.alert:
        return f"nothing fired in {drill.limit_s:g} s" if not told.beside else f"FIRED: {', '.join(told.beside)}"
    if told.fired_after_s is None:
        return f"{drill.alert} did NOT fire within {drill.limit_s:g} s{beside}"
    minutes = told.fired_after_s * SPEEDUP / 60
    return f"{drill.alert} fired after {told.fired_after_s:.0f} s, in a deployment {minutes:.0f} min{beside}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*DRILLS, "all"])
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="where to draw the dashboards")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
