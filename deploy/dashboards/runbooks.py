"""The runbooks as a dashboard of their own: a panel's link leads to one of them inside the same Grafana."""

import re
from functools import cache
from pathlib import Path

from deploy.dashboards.grafana import Dashboard, Link, Section, Text

PAGES = Path(__file__).parents[1] / "runbooks"
UID = "rcnn-runbooks"

_LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")


def runbooks() -> Dashboard:
    return Dashboard(
        uid=UID,
        title="rcnn / runbooks",
        description="What to do about each alert, by its name.",
        choices=(),
        sections=(Section("Runbooks", tuple(Text(name, _inside(page)) for name, page in _pages().items())),),
    )


def runbook(alert: str) -> Link:
    """To the runbook of an alert, alone on the screen. Raises ValueError if there is none."""
    return Link(f"Runbook: {alert}", _address(alert))


@cache
def _pages() -> dict[str, str]:
    """By name: first how to read them, then one for each alert."""
    files = [PAGES / "README.md", *sorted(PAGES.glob("Rcnn*.md"))]
    return {file.stem.replace("README", "Before you begin"): file.read_text("utf-8") for file in files}


def _address(name: str) -> str:
    if name not in _pages():
        raise ValueError(f"no runbook {name}.md in {PAGES.name}/")
    return f"/d/{UID}?viewPanel={list(_pages()).index(name) + 2}"  # panel 1 is the section's title


def _inside(page: str) -> str:
    """Without its title, which is the panel's; links lead to panels, and to files only by name."""
    return _LINK.sub(_linked, page.partition("\n")[2].strip())


def _linked(link: re.Match[str]) -> str:
    words, target = link.groups()
    if target.startswith("/d/"):
        return link[0]
    name = target.removesuffix(".md")
    return f"[{words}]({_address(name)})" if name in _pages() else f"{words} ({Path(target).name})"
