"""From points of disagreement and AP lost to a margin."""

import pytest

from deploy.judge.calibration import Point, loss_at, margin


def points(*pairs: tuple[float, float]) -> list[Point]:
    return [Point("", disagreement, loss, loss - 0.01, loss + 0.01) for disagreement, loss in pairs]


@pytest.mark.parametrize(
    "measured, ap_loss, allowed",
    [
        (points((0.01, 0.0), (0.05, 0.008), (0.2, 0.05)), 0.01, 0.05),
        (points((0.2, 0.05), (0.01, 0.0), (0.05, 0.008)), 0.01, 0.05),  # in any order
        (points((0.01, 0.0), (0.05, 0.02), (0.1, 0.0)), 0.01, 0.01),  # one that loses more bounds those beyond it
        (points((0.01, 0.0), (0.05, 0.0), (0.05, 0.02)), 0.01, 0.01),  # so much disagreement may lose more
        (points((0.01, 0.02), (0.05, 0.0)), 0.01, None),
        (points((0.01, -0.002), (0.3, 0.004)), 0.01, 0.3),  # never beyond what was measured
    ],
)
def test_the_margin_is_what_no_variant_within_it_lost_more_for(
    measured: list[Point], ap_loss: float, allowed: float | None
) -> None:
    assert margin(measured, ap_loss) == allowed


def test_what_a_margin_may_cost_is_the_worst_within_it() -> None:
    measured = points((0.01, 0.004), (0.03, 0.001), (0.2, 0.3))
    assert loss_at(measured, 0.05) == 0.004
    assert loss_at(measured, 0.001) is None
