"""How long commands show where they are, and how they say no."""

import sys

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar() -> Progress:
    """A bar with the time left on a terminal; elsewhere only the printed lines."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def failure(error: Exception) -> typer.Exit:
    """Say what is wrong on stderr; raise the value returned: exit code 1, no."""
    typer.echo(f"rcnn: {error}", err=True)
    return typer.Exit(1)
