"""
Benchmarks that bring their own service, printed as ratios with their targets.

Each part starts the real `rcnn serve` on free loopback ports; what is compared takes turns within one run, because
absolute rates on a shared machine mean little. Writes bench.json, bench.html and plots into --out. Exit codes: 0 every
target met, 1 some missed, 2 usage.
"""

import importlib
import json
import os
import pkgutil
import platform
import time
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console

from loadtests import html_report, plot, tables
from loadtests.bench import parts
from loadtests.bench.figures import Figure, Plan, Result

BUSY_PERCENT = 30.0

console = Console()


def main(
    part: Annotated[list[str] | None, typer.Option("--part", "-p", help="Only this part. Repeatable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often what is compared takes turns.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="About how long one run of one load takes.")] = 6.0,
    engine_delay_ms: Annotated[float, typer.Option(min=1, help="Of the fake engine, for each batch.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same schedules.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("loadtests/results"),
) -> None:
    found = find_parts()
    if unknown := set(part or ()) - set(found):
        raise typer.BadParameter(f"no part {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    plan = Plan(rounds=rounds, seconds=seconds, engine_delay_ms=engine_delay_ms, seed=seed)
    results: dict[str, Result] = {}
    for name in part or found:
        started = time.monotonic()
        console.print(f"[bold]{name}[/]: {found[name].TITLE}")
        results[name] = found[name].measure(plan)
        console.print(tables.to_rich(results[name].table(f"{name}, {time.monotonic() - started:.0f} s")))
        for note in results[name].notes:
            console.print(f"note: {note}")
    write(out, plan, results, {name: found[name].TITLE for name in results})
    if (waited := _cpu_pressure()) is not None and waited > BUSY_PERCENT:
        console.print(f"note: for {waited:.0f} % of the last minute somebody waited for a processor: trust ratios only")
    missed = [f"{name}: {figure.name}" for name, figure in judged(results) if figure.is_met is False]
    console.print(f"missed: {'; '.join(missed)}" if missed else "every target met")
    raise typer.Exit(1 if missed else 0)


def find_parts() -> dict[str, ModuleType]:
    """Every file in parts/, in order of name, by its name with dashes."""
    names = sorted(module.name for module in pkgutil.iter_modules(parts.__path__))
    return {name.replace("_", "-"): importlib.import_module(f"{parts.__name__}.{name}") for name in names}


def judged(results: dict[str, Result]) -> list[tuple[str, Figure]]:
    return [(name, figure) for name, result in results.items() for figure in result.figures]


def write(out: Path, plan: Plan, results: dict[str, Result], titles: dict[str, str]) -> None:
    """bench.json and bench.html of these results, and a PNG of each plot."""
    out.mkdir(parents=True, exist_ok=True)
    machine = {"cpus": os.cpu_count(), "waited_for_cpu_percent": _cpu_pressure(), "python": platform.python_version()}
    setting = asdict(plan) | machine
    figures = [asdict(figure) | {"part": name, "is_met": figure.is_met} for name, figure in judged(results)]
    (out / "bench.json").write_text(json.dumps({"setting": setting, "figures": figures}, indent=2) + "\n")
    sections = [html_report.settings_list(setting)]
    for name, result in results.items():
        sections += [html_report.heading(titles[name]), html_report.as_table(result.table(name))]
        sections += [html_report.paragraph(note) for note in result.notes]
        for file, drawn in result.plots.items():
            drawn.savefig(out / f"bench-{file}.png", dpi=110)
            sections.append(plot.to_svg(drawn))
    html_report.write_html(out / "bench.html", "rcnn bench", sections)
    console.print(f"wrote {out / 'bench.json'}, {out / 'bench.html'}")


def _cpu_pressure() -> float | None:
    """Per cent of the last minute in which somebody here waited for a processor; None where the system does not say."""
    try:
        fields = Path("/proc/pressure/cpu").read_text().split()
    except OSError:
        return None
    return float(next(field for field in fields if field.startswith("avg60=")).removeprefix("avg60="))


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, help=__doc__)
    command.command(help=__doc__)(main)
    command(prog_name="python -m loadtests.bench")
