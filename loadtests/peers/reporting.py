"""The table and the plot of a comparison."""

from collections.abc import Sequence
from pathlib import Path

from loadtests import html_report, plot
from loadtests.peers import drawing
from loadtests.peers.catalogue import NAMES, TITLES
from loadtests.peers.figures import Cell, Spread, cell
from loadtests.peers.loads import LOADS
from loadtests.peers.records import OBJECTIVE_MS, Record, Step, Versions
from loadtests.tables import Table

HEADINGS = (
    "server",
    f"goodput at p95 <= {OBJECTIVE_MS:g} ms",
    "rcnn is",
    "images a call",
    "padding",
    "p99 at equal load",
    "processor time an image, there",
)
TITLE = "The same model behind other servers"


def tables(records: Sequence[Record]) -> list[Table]:
    """One a load, for those measured."""
    measured = {record.load for record in records if not isinstance(record, Versions)}
    return [_table(records, load.name) for load in LOADS if load.name in measured]


def versions_table(records: Sequence[Record]) -> Table:
    found = {record.server: record.versions for record in records if isinstance(record, Versions)}
    rows = [(TITLES[name], ", ".join(f"{k} {v}" for k, v in found[name].items())) for name in NAMES if name in found]
    return Table("versions", ("server", "installed"), tuple(rows))


def as_markdown(table: Table) -> str:
    lines = [table.headings, tuple("---" for _ in table.headings), *table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(out: Path, records: Sequence[Record]) -> list[Path]:
    """peers.html, peers.md and peers.png from everything recorded so far."""
    paths = [out / f"peers.{ending}" for ending in ("md", "png", "html")]
    shown = [*tables(records), versions_table(records)]
    paths[0].write_text("\n\n".join(f"**{table.title}**\n\n{as_markdown(table)}" for table in shown) + "\n")
    drawn = drawing.peers_figure(records)
    drawn.savefig(paths[1], dpi=110)
    html_report.write_html(paths[2], TITLE, [*map(html_report.as_table, shown), plot.to_svg(drawn)])
    return paths


def _table(records: Sequence[Record], load: str) -> Table:
    cells = {name: cell(records, name, load) for name in NAMES}
    shown = [name for name in NAMES if cells[name].goodput_per_s or cells[name].error]
    rows = tuple(_row(TITLES[name], cells[name], cells[NAMES[0]]) for name in shown)
    rounds = len({r.round for r in records if isinstance(r, Step) and r.load == load and r.purpose == "search"})
    equal = next((c.equal_rate_per_s for c in cells.values() if c.equal_rate_per_s), None)
    told = "" if equal is None else f", equal load {equal:.3g}/s"
    return Table(f"{load}: {rounds} round{'' if rounds == 1 else 's'}{told}", HEADINGS, rows)


def _row(title: str, of: Cell, ours: Cell) -> tuple[str, ...]:
    if of.error:
        return (title, of.error, *("" for _ in HEADINGS[2:]))
    return (
        title,
        _spread(of.goodput_per_s, "/s"),
        _times(ours, of),
        "-" if of.images_a_call is None else f"{of.images_a_call:.1f}",
        "-" if of.padding_ratio is None else f"{of.padding_ratio:.0%}",
        _waiting(of),
        _spread(of.equal_processors_ms, " ms"),
    )


def _times(ours: Cell, of: Cell) -> str:
    if ours is of or not (ours.goodput_per_s and of.goodput_per_s):
        return ""
    if not of.goodput_per_s.median:
        return "-"
    return f"{ours.goodput_per_s.median / of.goodput_per_s.median:.2f} x"


def _waiting(of: Cell) -> str:
    if of.equal_share_ok is None:
        return "-"
    lost = 1 - of.equal_share_ok
    return _spread(of.equal_p99_ms, " ms") + (f", {lost:.0%} not answered" if lost >= 0.005 else "")


def _spread(spread: Spread | None, unit: str) -> str:
    if spread is None:
        return "-"
    told = f"{plain(spread.median)}{unit}"
    return told if spread.least == spread.most else f"{told} ({plain(spread.least)} to {plain(spread.most)})"


def plain(value: float) -> str:
    """Three digits, or more where there are more before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
