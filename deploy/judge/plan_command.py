"""`rcnn gate plan`: what traffic can tell, and by when."""

from typing import TYPE_CHECKING

import typer

from deploy.judge import options

if TYPE_CHECKING:
    from deploy.judge.shadow_gate import Policy


def plan(
    pairs_per_minute: options.Rate,
    horizon_minutes: options.Horizon = 60.0,
    disagreement: options.Margin = 0.05,
    floor: options.Floor = 0.0,
    errors: options.Errors = 0.002,
) -> None:
    """Say what this traffic can tell, and by when; exit 2 if it could tell nothing."""
    from deploy.judge.shadow_gate import Policy

    print_plan(Policy(errors=errors, disagreement=disagreement, floor=floor), pairs_per_minute, horizon_minutes)


def print_plan(policy: "Policy", pairs_per_minute: float, horizon_minutes: float) -> None:
    from deploy.judge.plan import CannotTell, make_plan

    errors, disagreement, latency = policy.guards()
    expected = [(errors, 0.0), (disagreement, policy.floor), (latency, 0.5)]
    alphas = policy.alpha_rollback, policy.alpha_promote
    try:
        made = make_plan(expected, pairs_per_minute, horizon_minutes, *alphas)
    except CannotTell as error:
        typer.echo(f"rcnn: {error}", err=True)
        raise typer.Exit(2) from error
    for sentence in made.sentences():
        typer.echo(sentence)
