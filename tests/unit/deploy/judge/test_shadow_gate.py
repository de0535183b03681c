"""Counts in, verdict out."""

from dataclasses import replace

import numpy as np
import pytest

from deploy.judge.evidence import log_e_above, threshold
from deploy.judge.prometheus import grown
from deploy.judge.proof.harms import tail_ever_worse
from deploy.judge.proof.pairs import Pairs, Release
from deploy.judge.proof.rollouts import _least_events, at_the_margin, chances_of, ever_rolled_back, roll_out
from deploy.judge.shadow_gate import Buckets, Policy, ShadowCounts, judge
from deploy.judge.verdict import Decision
from deploy.judge.watch import at_horizon

SHARES, PACES = (0, 0.05, 0.1, 0.5, 1), (0.5, 0.8, 1, 1.25, 2)


def counts(total: int, errors: int = 0, disagreement: float = 0.0, slowdown: float = 1.0) -> ShadowCounts:
    images = {"agree": float(total - errors), "candidate_error": float(errors)}
    return ShadowCounts(images, Buckets.of([disagreement] * total, SHARES), Buckets.of([slowdown] * total, PACES))


@pytest.mark.parametrize(
    "seen, decision, word",
    [
        (counts(5000), "promote", "errors"),
        (counts(500), "undecided", "errors"),
        (counts(500, errors=20), "rollback", "failed"),
        (counts(100, disagreement=0.3), "rollback", "agreement"),
        (counts(100, slowdown=1.4), "rollback", "slower"),
        (counts(5000, slowdown=0.3), "promote", "errors"),
        (counts(10), "undecided", "10 pairs; at least 20"),
        (counts(0), "undecided", "0 pairs"),
    ],
)
def test_a_verdict_follows_from_the_counts(seen: ShadowCounts, decision: str, word: str) -> None:
    verdict = judge(seen, Policy(), {})
    assert verdict.decision.value == decision
    assert any(word in text for text in (*verdict.reasons, *(finding.name for finding in verdict.findings)))


@pytest.mark.parametrize("asked, is_fit", [(1000, True), (1045, True), (2000, False), (500, False)])
def test_a_share_that_is_not_the_one_stated_makes_the_evidence_unfit(asked: int, is_fit: bool) -> None:
    seen = replace(counts(5000, errors=50), drawn=(10_000.0 - asked, float(asked)))
    verdict = judge(seen, Policy(share=0.1), {})
    assert (verdict.unfit == ()) is is_fit
    assert verdict.decision is (Decision.ROLLBACK if is_fit else Decision.UNDECIDED)
    assert judge(seen, Policy(), {}).decision is Decision.ROLLBACK  # where none is stated none is missed


def test_what_twins_differ_by_is_not_held_against_the_candidate() -> None:
    seen = counts(5000, disagreement=0.08)
    assert judge(seen, Policy(), {}).decision is not Decision.PROMOTE
    assert judge(seen, Policy(floor=0.1), {}).decision is Decision.PROMOTE


def test_the_horizon_makes_of_undecided_what_it_was_told_to_and_nothing_of_unfit_evidence() -> None:
    still_open = judge(counts(500), Policy(), {})
    assert at_horizon(still_open, Decision.ROLLBACK).decision is Decision.ROLLBACK
    assert at_horizon(still_open, Decision.UNDECIDED) == still_open
    assert at_horizon(judge(counts(3), Policy(), {}), Decision.ROLLBACK).decision is Decision.UNDECIDED


@pytest.mark.parametrize(
    "values, from_start, growth",
    [
        ([5, 7, 7, 12], True, 7),
        ([5, 7], False, 7),
        ([5, 9, 2, 3], True, 7),  # restarted after 9
        ([4], True, 0),
    ],
)
def test_counters_grow_over_restarts(values: list[float], from_start: bool, growth: float) -> None:
    assert grown(values, from_start) == growth


def test_releases_at_their_margins_are_rolled_back_by_no_more_than_alpha() -> None:
    policy = Policy(alpha_rollback=0.05)
    assert ever_rolled_back(at_the_margin(policy), policy, 500, 1000, 10).mean() <= 0.05


def test_the_events_it_takes_are_the_fewest_that_any_look_would_roll_back_for() -> None:
    totals, limit = np.array([10, 50, 200, 6000]), threshold(0.005)
    for total, least in zip(totals, _least_events(0.01, totals, limit), strict=True):
        few = np.arange(total + 1)
        evidence = log_e_above(np.stack([total - few, few], -1), (0, 1), 0.01)
        assert least == int(np.argmax(evidence >= limit))


def test_a_bad_release_is_rolled_back_in_simulated_rollouts_and_its_twin_promoted() -> None:
    rng = np.random.default_rng(0)
    same = np.ones(50)

    def pairs(disagreement: np.ndarray, harmless: bool) -> Pairs:
        release = Release("some", ".", harmless)  # type: ignore[arg-type]
        return Pairs(release, ("agree",) * 50, disagreement, same, same, same, 0.0)

    bad, good = pairs(rng.uniform(0.1, 0.4, 50), False), pairs(np.zeros(50), True)
    spoken = roll_out(chances_of(bad, Policy()), Policy(), 50, 4000, 10)
    assert spoken.share(-1) == 1 and (spoken.median_pairs(-1) or 0) <= 500
    assert roll_out(chances_of(good, Policy()), Policy(), 50, 4000, 10).share(1) == 1


def paces(**seen: int) -> ShadowCounts:
    """Images by how many times the stable model's work they took: slow 3, fast 1/3, rest 1."""
    values = [3.0] * seen.get("slow", 0) + [1 / 3] * seen.get("fast", 0) + [1.0] * seen["rest"]
    images = {"agree": float(len(values))}
    edges = (0.25, 0.5, 2 / 3, 0.8, 1 / 1.1, 1, 1.1, 1.25, 1.5, 2, 4)
    return ShadowCounts(images, Buckets.of([0.0] * len(values), SHARES), Buckets.of(values, edges))


@pytest.mark.parametrize(
    "seen, decision",
    [
        (paces(slow=100, rest=200), "rollback"),  # one image in three, which no median shows
        (paces(slow=700, fast=600, rest=1000), "promote"),  # a busy machine: both are often slow
        (paces(slow=150, rest=1850), "promote"),  # rarer than is allowed
    ],
)
def test_images_much_slower_now_and_then_roll_back_unless_stable_s_are_too(seen: ShadowCounts, decision: str) -> None:
    verdict = judge(seen, Policy(), {})
    assert verdict.decision.value == decision, verdict.reasons
    assert verdict.findings[-1].name == "slow tail"


def test_slow_tails_at_their_limits_are_rolled_back_by_no_more_than_alpha() -> None:
    assert tail_ever_worse(Policy(alpha_rollback=1.0), 400, 1000, 10).mean() <= 0.05
