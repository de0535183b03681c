"""A report as one HTML file that needs nothing else: tables, and plots as inline SVG."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from loadtests.tables import Table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
td, th { padding: .2rem .8rem; border-bottom: 1px solid #e4e4e4; text-align: right; }
td:first-child, th:first-child { text-align: left; }
.met { color: #22763f; font-weight: 600; } .missed { color: #b3261e; font-weight: 600; }
svg { width: 100%; height: auto; } code { background: #f4f4f4; padding: .1rem .3rem; }
@media (prefers-color-scheme: dark) {
  body { background: #16181c; color: #e6e6e6; } td, th { border-color: #333; } code { background: #26292f; }
  svg { background: #fff; border-radius: 4px; } .met { color: #6fce8f; } .missed { color: #ff8a80; }
}
"""


def write_html(path: Path, title: str, sections: Sequence[str]) -> None:
    """sections are HTML, as the functions below make them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join([f"<h1>{escape(title)}</h1>", *sections])
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    document = f"<!doctype html><html lang=en><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>"
    path.write_text(f"{document}<body>{body}</body></html>\n", encoding="utf-8")


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def as_table(table: Table) -> str:
    """A cell that says met or missed is coloured so."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in table.headings) if any(table.headings) else ""
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f"<table><caption>{escape(table.title)}</caption><tr>{head}</tr>{rows}</table>"


def settings_list(settings: dict[str, object]) -> str:
    """What must be known to repeat a run."""
    pairs = " · ".join(f"{escape(name)} <code>{escape(str(value))}</code>" for name, value in settings.items())
    return f"<p>{pairs}</p>"


def _cell(text: str) -> str:
    kind = f' class="{text}"' if text in ("met", "missed") else ""
    return f"<td{kind}>{escape(text)}</td>"
