"""
Render the alerting and recording rules to the YAML that the chart ships.

    python -m deploy.alerts                                        write them
    python -m deploy.alerts --objectives mine.toml --out folder    with other promises
    python -m deploy.alerts --check                                write nothing; exit 1 if what is there is stale
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.alerts import objectives
from deploy.alerts.objectives import InvalidObjectives, Objectives, read_objectives
from deploy.alerts.pods import pod_groups
from deploy.alerts.quality import quality_groups
from deploy.alerts.rules import Clock, Group, to_text
from deploy.alerts.slo import slo_groups

COMMITTED = Path("helm/rcnn/rules")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        rendered = render(options.out, read_objectives(options.objectives), Clock(options.speedup))
    except (InvalidObjectives, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return _check(rendered) if options.check else _write(rendered)


def rule_files(promised: Objectives, clock: Clock) -> dict[str, tuple[Group, ...]]:
    """Groups of rules by the name of their file."""
    return {"slo": slo_groups(promised, clock), "pods": pod_groups(clock), "quality": quality_groups(clock)}


def render(folder: Path, promised: Objectives, clock: Clock) -> dict[Path, str]:
    """Every rule file and its content."""
    return {folder / f"{name}.yaml": to_text(groups) for name, groups in rule_files(promised, clock).items()}


def _write(rendered: dict[Path, str]) -> int:
    for path, text in rendered.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    return 0


def _check(rendered: dict[Path, str]) -> int:
    stale = [path for path, text in rendered.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path} is not what the code renders: run python -m deploy.alerts", file=sys.stderr)
    return 1 if stale else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.alerts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=COMMITTED, metavar="DIR", help="folder of the YAML (%(default)s)")
    parser.add_argument(
        "--objectives", type=Path, default=objectives.COMMITTED, metavar="FILE", help="what is promised (TOML)"
    )
    parser.add_argument(
        "--speedup", type=int, default=1, metavar="N", help="shorten every window N times: for drills only"
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
