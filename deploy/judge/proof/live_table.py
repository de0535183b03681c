"""`python -m deploy.judge.proof.live_table RESULTS`: real rollouts as one table, beside three rival rules."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from deploy.judge.proof import rivals
from deploy.judge.proof.live import read
from deploy.judge.proof.streams import minutes_of

Row = dict[str, Any]
_RULES = (rivals.argo, rivals.flagger, rivals.kayenta)
_HEAD = ("release", "rollouts", "promoted", "rolled back", "undecided", "pairs", "seconds", "pairs asked")


def table(rows: Sequence[Row]) -> list[str]:
    """One line a release, Markdown; then how many were rightly and wrongly judged, by each rule."""
    lines = [f"| {' | '.join((*_HEAD, 'Argo', 'Flagger', 'Kayenta'))} |", "|" + "---|" * (len(_HEAD) + 3)]
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
    rolled = [f"{_rolled_back(rule, rows)} of {len(rows)}" for rule in _RULES]
    return f"| {' | '.join([name, str(len(rows)), *told, pairs, seconds, asked, *rolled])} |"


def _totals(rows: Sequence[Row]) -> list[str]:
    harmless, bad = ([row for row in rows if row["harmless"] is kind] for kind in (True, False))
    judged = [("the judge", _count(harmless, "rollback"), len(bad) - _count(bad, "rollback"))]
    for rule in _RULES:
        judged.append((rule.__name__.capitalize(), _rolled_back(rule, harmless), len(bad) - _rolled_back(rule, bad)))
    lines = ["| rule | harmless rolled back | bad not rolled back |", "|---|---|---|"]
    lines += [f"| {name} | {wrong} of {len(harmless)} | {missed} of {len(bad)} |" for name, wrong, missed in judged]
    taken = [row["pairs"] for row in bad if row["decision"] == "rollback"]
    return [*lines, "", f"Median pairs to roll back: {median(taken):.0f}, of {len(taken)} releases." if taken else ""]


def _count(rows: Sequence[Row], decision: str) -> int:
    return sum(row["decision"] == decision for row in rows)


def _rolled_back(rule: Any, rows: Sequence[Row]) -> int:
    return sum(bool(rule(minutes_of(row["minutes"]))[0]) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="live.jsonl of deploy.judge.proof.live_command")
    print("\n".join(table(read(parser.parse_args().results))))


if __name__ == "__main__":
    main()
