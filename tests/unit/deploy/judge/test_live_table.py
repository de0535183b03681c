"""Real rollouts as a table, and what rival rules are given of them."""

from typing import Any

import pytest

from deploy.judge.proof.live_table import table
from deploy.judge.proof.processes import Samples
from deploy.judge.proof.streams import arm, minutes_of


def counted(asked: int, answered: int, quick: int, objects: int) -> Samples:
    """A server's counters: of the answered so many took up to 0.1 s, the others up to 0.2 s."""
    edges = {"0.1": quick, "0.2": answered, "+Inf": answered}
    found: Samples = {
        ("rcnn_requests_total", frozenset({("outcome", "ok")})): answered,
        ("rcnn_requests_total", frozenset({("outcome", "internal")})): asked - answered,
        ("rcnn_detections_per_image_count", frozenset()): answered,
        ("rcnn_detections_per_image_sum", frozenset()): objects,
    }
    for edge, count in edges.items():
        found["rcnn_request_duration_seconds_bucket", frozenset({("le", edge)})] = count
    return found


def test_a_minute_of_an_arm_is_what_its_counters_grew_by() -> None:
    seen = arm(counted(100, 90, 50, 500), counted(160, 147, 80, 785))
    assert seen.success == pytest.approx(57 / 60)
    assert seen.objects == pytest.approx(285 / 57)
    assert seen.latency_p95_s == pytest.approx(0.1 + 0.1 * (0.95 * 57 - 30) / 27)  # Prometheus' straight line


def rollout(name: str, harmless: bool, decision: str, success: float) -> dict[str, Any]:
    quiet = {"success": 1.0, "latency_p95_s": 0.1, "objects": 5.0}
    minutes = [{"sent": 60 * n, "stable": quiet, "new": {**quiet, "success": success}} for n in range(1, 6)]
    pairs = None if decision == "undecided" else 40
    return {
        "release": name,
        "harmless": harmless,
        "decision": decision,
        "pairs": pairs,
        "seconds": pairs,
        "minutes": minutes,
    }


def test_a_table_counts_what_each_rule_got_wrong() -> None:
    rows = [
        rollout("twin", True, "undecided", 1.0),
        rollout("twin", True, "promote", 1.0),
        rollout("errors", False, "rollback", 0.9),
        rollout("labels", False, "rollback", 1.0),
    ]
    lines = table(rows)
    assert "| errors (bad) | 1 | 0 | 1 | 0 | 40 | 40 | 300 | 1 of 1 | 1 of 1 | 1 of 1 |" in lines
    assert "| twin (harmless) | 2 | 1 | 0 | 1 | 40 | 40 | 300 | 0 of 2 | 0 of 2 | 0 of 2 |" in lines
    assert "| the judge | 0 of 2 | 0 of 2 | 40 | 0.7 |" in lines
    assert "| Argo | 0 of 2 | 1 of 2 | 60 | 1.0 |" in lines  # the first minute is one too many
    assert "| Flagger | 0 of 2 | 1 of 2 | 300 | 5.0 |" in lines
    assert "| Kayenta | 0 of 2 | 1 of 2 | 300 | 5.0 |" in lines


def test_minutes_of_a_rollout_are_one_row_of_what_rivals_read() -> None:
    seen = minutes_of(rollout("errors", False, "rollback", 0.9)["minutes"])
    assert seen.success[1].tolist() == [[0.9] * 5]
    assert seen.objects[0].shape == (1, 5)
