"""
Render the dashboards to the JSON that the chart ships.

    python -m deploy.dashboards            write them
    python -m deploy.dashboards --check    write nothing; exit 1 if what is there is not what would be written
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.dashboards.debug import debug
from deploy.dashboards.executive import executive
from deploy.dashboards.grafana import Dashboard
from deploy.dashboards.grafana_json import to_text
from deploy.dashboards.oncall import oncall
from deploy.dashboards.runbooks import runbooks

COMMITTED = Path("helm/rcnn/dashboards")

READING = Path("reading")
"""Below it: dashboards without a graph."""

DASHBOARDS: tuple[Callable[[], Dashboard], ...] = (executive, oncall, debug)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    rendered = render(options.out)
    return _check(rendered) if options.check else _write(rendered)


def render(folder: Path) -> dict[Path, str]:
    """Every dashboard's file and its content."""
    dashboards = [build() for build in DASHBOARDS]
    graphs = {folder / f"{dashboard.uid}.json": to_text(dashboard) for dashboard in dashboards}
    return graphs | {folder / READING / f"{runbooks().uid}.json": to_text(runbooks())}


def _write(rendered: dict[Path, str]) -> int:
    for path, text in rendered.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    return 0


def _check(rendered: dict[Path, str]) -> int:
    stale = [path for path, text in rendered.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path} is not what the code renders: run python -m deploy.dashboards", file=sys.stderr)
    return 1 if stale else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.dashboards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=COMMITTED, metavar="DIR", help="folder of the JSON (%(default)s)")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
