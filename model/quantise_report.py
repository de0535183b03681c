"""What int8 costs and saves, in words: layers, AP before and after, times."""

from collections import Counter
from collections.abc import Collection, Sequence

import typer
from rich.console import Console
from rich.table import Table

from model.bench.precisions import Timed
from model.evaluate import Evaluation
from model.quantise import Quantiser
from model.sensitivity import Sensitivity

_MOST_SHOWN = 10  # layers of a ranking


def ap_rows(evaluation: Evaluation) -> dict[str, float]:
    """AP by what it is of: every kind, all classes and each that has truth."""
    found: dict[str, float] = {}
    for kind in evaluation.by_class:
        whole = evaluation.metrics[kind]
        rows = {"all": whole, **whole["by_class"]}
        found |= {f"{kind}, {label}": float(row["AP"]) for label, row in rows.items() if row["AP"] is not None}
    return found


def lost_too_much(before: Evaluation, after: Evaluation, max_drop: float) -> list[str]:
    """A sentence for every AP that fell by more than max_drop."""
    old, new = ap_rows(before), ap_rows(after)
    return [f"AP of {name} {old[name]:.4f} -> {new[name]:.4f}" for name in old if old[name] - new[name] > max_drop]


def tell(
    seen: str,
    quantiser: Quantiser,
    int8: Collection[str],
    ranking: Sequence[Sensitivity],
    before: Evaluation,
    after: Evaluation,
    times: Sequence[Timed],
) -> None:
    """seen: what the ranges of activations come from."""
    layers, mask_layers = quantiser.layers, quantiser.mask_layers
    left_out = len(layers.left_out) + len(layers.int8) - len(int8)
    judged_on = before.data
    typer.echo(
        f"{len(int8)} layers in int8 by {seen}, {left_out} left out; "
        f"judged on {len(judged_on.images)} of {judged_on.split}"
    )
    if mask_layers:
        typer.echo(f"of the mask head {len(mask_layers.int8)} in int8, {len(mask_layers.left_out)} left out")
    parts = [layers, mask_layers] if mask_layers else [layers]
    for name, why in [row for part in parts for row in part.left_out.items()]:
        typer.echo(f"in floating point: {name}, {why}")
    if counts := sum((part.no_int8 for part in parts), Counter()):
        several = ", ".join(f"{count} {name}" for name, count in counts.items())
        typer.echo(
            f"in floating point, between DequantizeLinear and QuantizeLinear, for there is no int8 form: {several}"
        )
    for one in ranking[:_MOST_SHOWN]:
        typer.echo(f"{one.layer} alone in int8 moves answers by {one.moved:.4f}{_fate(one.layer, int8)}")
    Console().print(_table(before, after))
    for row in times:
        typer.echo(
            f"{row.name}: median {row.median_ms:.1f} ms of one processor, {row.ratio:.2f} of the fastest not in int8"
        )


def _fate(layer: str, int8: Collection[str]) -> str:
    return "" if layer in int8 else ": left out"


def _table(before: Evaluation, after: Evaluation) -> Table:
    table, old, new = Table("AP", "before", "int8", "change"), ap_rows(before), ap_rows(after)
    for name, value in old.items():
        table.add_row(name, f"{value:.4f}", f"{new[name]:.4f}", f"{new[name] - value:+.4f}")
    return table
