"""Traffic split between a candidate and the rest: counted by release, and judged by who has more than its share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import nchypergeom_fisher

from deploy.judge.arms import NO_ARMS, Arms, Series, arms_of, increments
from deploy.judge.evidence import STAKES, log_wealth_of_share
from deploy.judge.proof.harms import arms_ever_worse
from deploy.judge.shadow_gate import Policy, judge, judge_arms
from deploy.judge.verdict import Decision, Verdict
from tests.unit.deploy.judge.test_shadow_gate import counts


def pod(name: str, values: Sequence[float | None], *, release: str = "", model: str = "toy", since: int = 0) -> Series:
    """Values at the ends of windows of 30 s; None where there is none."""
    labels = {"pod": name} | ({"release": release} if release else {"model": model, "protocol": "rest"})
    points = [(30.0 * i, value) for i, value in enumerate(values, since) if value is not None]
    return Series(labels, points)


def named(**releases: str) -> list[Series]:
    return [pod(name, [1.0] * 10, release=release) for name, release in releases.items()]


def totals(arms: Arms) -> list[float]:
    return arms.counts.sum(0).tolist()


def test_requests_and_errors_are_counted_by_the_release_that_each_pod_says_it_is() -> None:
    requests = [pod("a", [100, 160]), pod("b", [50, 90]), pod("c", [0, 10]), pod("nameless", [0, 1000])]
    errors = [pod("a", [7, 8]), pod("c", [None, 2])]
    arms = arms_of("v2", named(a="v1", b="v1", c="v2"), requests, errors, since=0)
    assert totals(arms) == [10, 2, 100, 1]


def test_restarts_and_pods_that_come_and_go_lose_and_invent_nothing() -> None:
    restarted, gone = pod("a", [90, 100, 4, 9]), pod("b", [0, 30, None, None])
    come = pod("c", [None, None, 20, 25])
    arms = arms_of("v2", named(a="v1", b="v1", c="v2"), [restarted, gone, come], [], since=0)
    assert totals(arms) == [25, 0, 10 + 4 + 5 + 30, 0]


def test_an_address_that_a_candidate_takes_over_is_the_stable_release_s_until_then() -> None:
    names = [pod("a", [1, 1, None, None], release="v1"), pod("a", [None, None, 1, 1], release="v2")]
    assert totals(arms_of("v2", names, [pod("a", [0, 50, 3, 7])], [], since=0)) == [7, 0, 50, 0]
    both = [pod("a", [1, 1, 1], release="v1"), pod("a", [None, 1, 1], release="v2", since=0)]
    assert arms_of("v2", both, [pod("a", [0, 50, 90])], [], since=0) is NO_ARMS


def test_what_was_counted_before_the_start_is_not_counted_again_and_a_later_look_only_adds() -> None:
    requests = [pod("a", [1000, 1010, 1030, 1060]), pod("c", [0, 1, 3, 6])]
    names = named(a="v1", c="v2")
    early = arms_of("v2", names, [replace(row, points=row.points[:3]) for row in requests], [], since=30)
    late = arms_of("v2", names, requests, [], since=30)
    assert totals(early) == [2, 0, 20, 0] and totals(late) == [5, 0, 50, 0]
    assert late.counts[: len(early.counts)].tolist() == early.counts.tolist()
    assert list(increments([(0.0, 5.0), (30.0, 7.0)], 30.0)) == []


def test_models_are_compared_with_themselves_alone() -> None:
    """A candidate asked for the harder model more often is not worse for it."""
    requests = [pod("a", [0, 90]), pod("a", [0, 10], model="hard"), pod("c", [0, 10], model="hard")]
    arms = arms_of("v2", named(a="v1", c="v2"), requests, [], since=0)
    own, _, others, _ = arms.strata
    assert (own.tolist(), others.tolist()) == ([10], [10])


def test_a_warm_up_begins_with_the_candidate_s_first_request() -> None:
    requests = [pod("a", [0, 10, 20, 30, 40]), pod("c", [0, 0, 5, 10, 15])]
    arms = arms_of("v2", named(a="v1", c="v2"), requests, [], since=0)
    assert arms.after_warm_up(30).counts.sum(0).tolist() == [10, 0, 20, 0]
    assert arms.after_warm_up(0).counts.sum() == arms.counts.sum()
    assert NO_ARMS.after_warm_up(30).counts.size == 0


@pytest.mark.parametrize("own, other, errors", [(10, 190, 1), (10, 190, 30), (50, 50, 20), (3, 4, 5), (200, 10, 60)])
@pytest.mark.parametrize("odds, allowed", [(1.0, 1.0), (1.25, 1.25), (1.0, 1.25), (3.0, 3.0)])
def test_a_bet_on_whose_errors_they_are_is_worth_at_most_1_whatever_the_stake(
    own: int, other: int, errors: int, odds: float, allowed: float
) -> None:
    """Exactly, over Fisher's noncentral hypergeometric distribution: errors given their number, by scipy."""
    mine = np.arange(errors + 1)
    chances = nchypergeom_fisher(own + other, own, errors, odds).pmf(mine)
    wealth = np.exp(log_wealth_of_share(mine, errors, allowed * own / (allowed * own + other)))
    expected = chances @ wealth
    assert expected.shape == STAKES.shape and (expected <= 1 + 1e-6).all()
    assert expected[0] > 0.9 if odds == allowed else True  # and nearly 1 at a small stake: it could win


@pytest.mark.parametrize("own, other", [(0.0125, 0.01), (0.001, 0.001), (0.1, 0.1)])
def test_releases_that_fail_no_more_than_allowed_are_rolled_back_in_alpha_at_most(own: float, other: float) -> None:
    assert arms_ever_worse(own, other, Policy(alpha_rollback=0.5), 400).mean() <= 0.05  # a tenth is for split errors


def arms(own: tuple[int, int], other: tuple[int, int], windows: int = 20) -> Arms:
    """So many (requests, errors) in each window."""
    return Arms(30.0 * np.arange(1, windows + 1), np.tile([*own, *other], (windows, 1)).astype(float))


def on(split: Arms, pairs: int = 5000) -> Verdict:
    return judge(replace(counts(pairs), arms=split), Policy(), {})


@pytest.mark.parametrize(
    "own, other, decision",
    [
        ((30, 2), (570, 1), "rollback"),  # errors are its own
        ((30, 2), (570, 38), "promote"),  # everybody fails as often: the images are to blame
        ((30, 0), (570, 38), "promote"),
        ((600, 1), (600, 0), "promote"),  # more than stable, and within what is allowed
    ],
)
def test_only_errors_above_what_is_allowed_and_above_what_others_have_roll_back(
    own: tuple[int, int], other: tuple[int, int], decision: str
) -> None:
    verdict = on(arms(own, other))
    assert verdict.decision.value == decision, verdict.reasons
    assert verdict.subject["arms"]["errors"] == 20 * own[1]


def test_without_pairs_split_traffic_can_roll_back_and_cannot_promote() -> None:
    bad, good = arms((30, 2), (570, 1)), arms((3000, 0), (3000, 0))
    assert judge_arms(bad, Policy(), {}, ["no pairs"]).decision is Decision.ROLLBACK
    assert on(bad, pairs=3).decision is Decision.ROLLBACK
    verdict = judge_arms(good, Policy(), {}, ["no pairs"])
    assert (verdict.decision, verdict.reasons) == (Decision.UNDECIDED, ("no pairs",))
    assert [finding.name for finding in verdict.findings] == ["split errors"]
    assert judge_arms(NO_ARMS, Policy(), {}, ["no pairs"]).findings == ()


def test_windows_in_which_one_arm_was_not_asked_tell_nothing() -> None:
    assert on(arms((0, 0), (570, 300))).decision is Decision.PROMOTE
    assert "arms" not in on(arms((30, 30), (0, 0))).subject
