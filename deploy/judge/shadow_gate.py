"""From counts of shadow pairs and of split traffic to a verdict: three guards to clear, two harms to watch for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deploy.judge.arms import NO_ARMS, Arms
from deploy.judge.evidence import log_e_split, threshold
from deploy.judge.guards import Counted, Guard, Harm, Reading, Tally, read, read_harm
from deploy.judge.verdict import Finding, Verdict, decide

_ALPHA_SPLIT = 0.001


@dataclass(frozen=True)
class Policy:
    """What a candidate may cost, and how sure one wants to be."""

    errors: float = 0.002  # images it fails on; more than half of it is not tolerated
    disagreement: float = 0.05  # mean share of objects without a partner that agrees, above the floor
    floor: float = 0.0  # the same between two stable replicas, measured
    slower_than: float = 1.1  # an image counts as slower above so many times the stable model's work
    slower: float = 0.6  # share of images that may be slower; more than a tenth less, half of them, is not tolerated
    tail_slower_than: float = 2.0  # work on an image over the stable model's
    tail: float = 0.15  # share of images that may be as slow
    tail_times: float = 3.0  # as many as are as much quicker may be
    error_times: float = 1.25  # of split traffic: the odds of an error allowed, over those of the other releases
    alpha_rollback: float = 0.01  # of all guards and harms together
    alpha_promote: float = 0.05
    least_pairs: int = 20  # fewer decide nothing
    share: float | None = None  # of the requests that the candidate is said to be asked, (0, 1); None: not checked

    def guards(self) -> tuple[Guard, Guard, Guard]:
        return (
            Guard("errors", "share of images the candidate failed on", self.errors, 0.5, self.errors / 2),
            Guard("disagreement", "share of objects that find no agreement", self.floor + self.disagreement, 0.2),
            Guard(
                "latency",
                f"share of images slower than {self.slower_than:g} times",
                self.slower,
                0.15,
                self.slower - 0.1,
            ),
        )

    def slow_tail(self) -> Harm:
        factor, times = self.tail_slower_than, self.tail_times
        question = f"share of images over {factor:g} times as slow, of which {times:g} times those as quick are allowed"
        return Harm(Guard("slow tail", question, self.tail, 0.05), times)

    def split_errors(self) -> Harm:
        question = f"share of its requests that fail, of which {self.error_times:g} times the others' are allowed"
        return Harm(Guard("split errors", question, self.errors, 0.1, self.errors / 2), self.error_times)


@dataclass(frozen=True)
class Buckets:
    """A histogram: counts (B,) of what lies above the edge before and up to upper_edges (B,), the last infinite."""

    upper_edges: Sequence[float]
    counts: Sequence[float]

    @classmethod
    def of(cls, values: Sequence[float], upper_edges: Sequence[float]) -> "Buckets":
        edges = (*upper_edges, np.inf)
        places = np.searchsorted(edges, np.asarray(values, np.float64), "left")
        return cls(edges, np.bincount(places, minlength=len(edges)).astype(float).tolist())


@dataclass(frozen=True)
class ShadowCounts:
    """What the counters of all pods have grown by since the rollout began."""

    images: Mapping[str, float]  # by outcome
    disagreement: Buckets
    slowdown: Buckets
    objects: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, float] = field(default_factory=dict)
    drawn: tuple[float, float] = (0.0, 0.0)  # images the lot did not fall on, and those it did
    first_s: float | None = None  # when a pair was first seen, seconds since the epoch
    arms: Arms = NO_ARMS

    @property
    def pairs(self) -> int:
        return int(sum(self.images.values()))


def judge(counts: ShadowCounts, policy: Policy, subject: Mapping[str, Any], unfit: Sequence[str] = ()) -> Verdict:
    """unfit: what is known to be wrong with the pairs themselves. It is no excuse for errors of split traffic."""
    problems = list(unfit)
    if not problems and counts.pairs < policy.least_pairs:
        dropped = ", ".join(f"{count:g} {reason}" for reason, count in counts.dropped.items() if count) or "none"
        problems.append(f"{counts.pairs} pairs; at least {policy.least_pairs} are needed (dropped: {dropped})")
    problems += _split(counts.drawn, policy.share)
    told = {**subject, "pairs": counts.pairs, "images": dict(counts.images), "objects": dict(counts.objects)}
    if problems:
        return judge_arms(counts.arms, policy, told, problems, _of_pairs(counts, policy))
    return decide({**told, **_told(counts.arms)}, [*_of_pairs(counts, policy), *_of_arms(counts.arms, policy)])


def judge_arms(
    arms: Arms, policy: Policy, subject: Mapping[str, Any], unfit: Sequence[str], others: Sequence[Finding] = ()
) -> Verdict:
    """Where pairs are unfit to decide: split traffic may roll back, and cannot promote. others: found of pairs."""
    found, told = _of_arms(arms, policy), {**subject, **_told(arms)}
    if any(finding.state == "worse" for finding in found):
        return decide(told, found)
    return decide(told, [*others, *found], unfit)


def _told(arms: Arms) -> dict[str, Any]:
    names = ("requests", "errors", "other_requests", "other_errors")
    sums = [float(each.sum()) for each in arms.strata]
    return {"arms": dict(zip(names, sums, strict=True))} if sums[0] else {}


def _of_pairs(counts: ShadowCounts, policy: Policy) -> list[Finding]:
    alphas = policy.alpha_rollback, policy.alpha_promote
    guards = zip(policy.guards(), tallies(counts, policy), strict=True)
    found = [_finding(read(guard, tally, *alphas), policy) for guard, tally in guards]
    tail = read_harm(policy.slow_tail(), slow_tail(counts.slowdown, policy), *alphas)
    return [*found, _finding(tail, policy, "pairs", is_required=False)]


def _of_arms(arms: Arms, policy: Policy) -> list[Finding]:
    """Nothing where no window has requests to both arms."""
    requests, errors, other_requests, other_errors = arms.strata
    if not requests.size:
        return []
    harm = policy.split_errors()
    allowed = harm.times * requests
    fair = allowed / (allowed + other_requests)
    seen = Counted(errors.sum(), requests.sum(), errors, errors + other_errors, fair)
    reading = read_harm(harm, seen, policy.alpha_rollback, policy.alpha_promote)
    return [_finding(reading, policy, "requests", is_required=False)]


def slow_tail(slowdown: Buckets, policy: Policy) -> Counted:
    """
    Images much slower and much quicker than the stable model's; two of one kind are either as often as the other.

    A bucket that reaches across a limit is not slower, and is quicker: the doubt is the candidate's.
    """
    limit = policy.tail_slower_than
    high = np.asarray(slowdown.upper_edges, np.float64)
    low, counts = np.concatenate([[0.0], high[:-1]]), np.asarray(slowdown.counts, np.float64)
    slower, quicker = counts[low >= limit * (1 - 1e-9)].sum(), counts[low < (1 - 1e-9) / limit].sum()
    fair = policy.tail_times / (policy.tail_times + 1)
    return Counted(slower, counts.sum(), *(np.array([each]) for each in (slower, slower + quicker, fair)))


def _split(drawn: tuple[float, float], share: float | None) -> list[str]:
    """Why the images asked are not the share stated: then they are not drawn as thought, and stand for nothing."""
    if share is None or not sum(drawn) or float(log_e_split(*drawn, share)) < threshold(_ALPHA_SPLIT):
        return []
    asked = drawn[1] / sum(drawn)
    return [f"the candidate is asked {asked:.3%} of {sum(drawn):g} images; {share:.3%} was stated: see to shadow_share"]


def tallies(counts: ShadowCounts, policy: Policy) -> tuple[Tally, Tally, Tally]:
    """In the order of Policy.guards."""
    return (
        Tally.of_events(counts.images.get("candidate_error", 0.0), counts.pairs),
        _shares(counts.disagreement),
        _slower(counts.slowdown, policy.slower_than),
    )


def _shares(buckets: Buckets) -> Tally:
    high = np.clip(np.asarray(buckets.upper_edges, np.float64), 0, 1)
    low = np.concatenate([[0.0], high[:-1]])
    return Tally(np.asarray(buckets.counts, np.float64), low, high)


def _slower(buckets: Buckets, limit: float) -> Tally:
    """A sequential sign test: is the median above limit? A bucket that reaches across it is neither."""
    high = np.asarray(buckets.upper_edges, np.float64)
    low = np.concatenate([[0.0], high[:-1]])
    is_slower, may_be = low >= limit * (1 - 1e-9), high > limit * (1 + 1e-9)
    return Tally(np.asarray(buckets.counts, np.float64), is_slower.astype(np.float64), may_be.astype(np.float64))


def _finding(reading: Reading, policy: Policy, of: str = "pairs", *, is_required: bool = True) -> Finding:
    guard, (low, high) = reading.guard, reading.interval
    mean = "nothing seen" if reading.mean is None else f"{reading.mean:.4f} [{low:.4f}, {high:.4f}]"
    than = f" than {guard.tolerated:.4g}" if guard.tolerated < guard.margin else ""
    words = (
        f"{guard.question}: {mean}, at most {guard.margin:.4g} allowed; e = {_e(reading.log_e_worse)} that it is more"
        f"{than}, e = {_e(reading.log_e_fine)} that it is less, after {reading.observations} {of}"
    )
    figures = {
        "mean": reading.mean,
        "interval": [low, high],
        "margin": guard.margin,
        "tolerated": guard.tolerated,
        "log_e_worse": reading.log_e_worse,
        "log_e_fine": reading.log_e_fine,
        "log_e_rollback": threshold(policy.alpha_rollback * guard.weight),
        "log_e_promote": threshold(policy.alpha_promote),
        "observations": reading.observations,
    }
    return Finding(guard.name, reading.state, words, figures, is_required)


def _e(log_e: float) -> str:
    return f"{np.exp(min(log_e, 600.0)):.3g}"
