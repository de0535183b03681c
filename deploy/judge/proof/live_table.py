"""`python -m deploy.judge.proof.live_table RESULTS`: real rollouts as one table, beside three rival rules."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.judge.proof import rivals
from deploy.judge.proof.live import read
from deploy.judge.proof.streams import IMAGES_A_MINUTE, minutes_of

Row = dict[str, Any]
Rule = Callable[[rivals.Minutes], NDArray[np.bool_]]
_RULES: dict[str, Rule] = {"Argo": rivals.argo, "Flagger": rivals.flagger, "Kayenta": rivals.kayenta}
_RULES_HEAD = ("rule", "harmless rolled back", "bad not rolled back", "median pairs or images to roll back", "minutes")
_HEAD = ("release", "rollouts", "promoted", "rolled back", "undecided", "pairs", "seconds", "pairs asked")


def table(rows: Sequence[Row]) -> list[str]:
    """One line a release, Markdown; then how many were rightly and wrongly judged, by each rule."""
    lines = [f"| {' | '.join((*_HEAD, *_RULES))} |", "|" + "---|" * (len(_HEAD) + 3)]
    names = sorted({row["release"] for row in rows}, key=lambda name: _order(rows, name))
    return [*lines, *(_line([row for row in rows if row["release"] == name]) for name in names), "", *_totals(rows)]


def _order(rows: Sequence[Row], name: str) -> tuple[bool, int]:
    first = next(place for place, row in enumerate(rows) if row["release"] == name)
    return bool(rows[first]["harmless"]), first


def _line(rows: Sequence[Row]) -> str:
    decided = [row for row in rows if row["decision"] != "undecided"]
    told = [str(_count(rows, decision)) for decision in ("promote", "rollback", "undecided")]
    pairs, seconds = (f"{median(row[key] for row in decided):.0f}" if decided else "–" for key in ("pairs", "seconds"))
    asked = f"{median(row['minutes'][-1]['sent'] for row in rows):.0f}"
    name = f"{rows[0]['release']} ({'harmless' if rows[0]['harmless'] else 'bad'})"
    rolled = [f"{_rolled_back(rule, rows)} of {len(rows)}" for rule in _RULES.values()]
    return f"| {' | '.join([name, str(len(rows)), *told, pairs, seconds, asked, *rolled])} |"


def _totals(rows: Sequence[Row]) -> list[str]:
    """Each rule's errors of both kinds, and what it took to roll bad releases back, at so many images a minute."""
    harmless, bad = ([row for row in rows if row["harmless"] is kind] for kind in (True, False))
    found = [row["pairs"] for row in bad if row["decision"] == "rollback"]
    lines = [f"| {' | '.join(_RULES_HEAD)} |", "|" + "---|" * len(_RULES_HEAD)]
    lines.append(_told("the judge", _count(harmless, "rollback"), len(harmless), found, len(bad)))
    for name, rule in _RULES.items():
        taken = [images for row in bad if (images := _images_taken(rule, row)) is not None]
        wrong = _rolled_back(rule, harmless)
        lines.append(_told(name, wrong, len(harmless), taken, len(bad)))
    return lines


def _told(rule: str, wrong: int, harmless: int, taken: Sequence[int], bad: int) -> str:
    pace = (f"{median(taken):.0f}", f"{median(taken) / IMAGES_A_MINUTE:.1f}") if taken else ("–", "–")
    return f"| {' | '.join((rule, f'{wrong} of {harmless}', f'{bad - len(taken)} of {bad}', *pace))} |"


def _images_taken(rule: Rule, row: Row) -> int | None:
    """By which a rule has rolled a release back; Kayenta judges once, at the end."""
    minutes = row["minutes"]
    looks = range(1, len(minutes) + 1) if rule is not rivals.kayenta else (len(minutes),)
    return next((int(minutes[n - 1]["sent"]) for n in looks if rule(minutes_of(minutes[:n]))[0]), None)


def _count(rows: Sequence[Row], decision: str) -> int:
    return sum(row["decision"] == decision for row in rows)


def _rolled_back(rule: Rule, rows: Sequence[Row]) -> int:
    return sum(bool(rule(minutes_of(row["minutes"]))[0]) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="live.jsonl of deploy.judge.proof.live_command")
    print("\n".join(table(read(parser.parse_args().results))))


if __name__ == "__main__":
    main()
