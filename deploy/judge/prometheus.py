"""Counters read back from Prometheus as whole numbers: what they grew by since a time, over restarts and all pods."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from deploy.judge.arms import NO_ARMS, Arms, Series, arms_of
from deploy.judge.details import ShadowDetails
from deploy.judge.shadow_gate import Buckets, ShadowCounts

_FAILED = "engine_failed|bundle_invalid|internal|deadline_exceeded"  # refusals say how many pods an arm has
_LOOK_BACK_S, _SETTLED_S = 300.0, 2.0  # where counters stood before; until a scrape under way is kept
_MOST_WINDOWS = 10_000  # Prometheus answers with 11 000 points of a series at most
_MOST_POINTS = 1_000  # of a series: over hours it is scraped less often, and a judge has little memory
_DIFFERENCES = {
    "box_iou": "overlap of the boxes",
    "mask_iou": "overlap of the masks",
    "score_change": "change of score",
}


class PrometheusUnavailable(Exception):
    """Nothing can be measured: the message says what Prometheus said, or that it said nothing."""


class NothingCounted(Exception):
    """Prometheus answers, and has nothing (or nothing any more) about this candidate."""


@dataclass(frozen=True)
class Prometheus:
    """A server's HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

    url: str
    timeout_s: float = 10.0

    def shadow_counts(self, candidate: str, selector: str, start: float, end: float) -> ShadowCounts:
        """
        What the shadow counters of `candidate` grew by between two times (seconds since the epoch), over all pods.

        selector narrows them further, such as `namespace="vision"`. Raises PrometheusUnavailable or NothingCounted.
        """
        matchers = ",".join(part for part in (f'candidate="{candidate}"', selector) if part)
        images = self._series(f"rcnn_shadow_pairs_total{{{matchers}}}", start, end)
        if not images:
            raise NothingCounted(f"no pairs of candidate {candidate}: is it shadowed, by that name, and is it scraped?")
        if max(row.last for row in images) < end - _step(start, end):
            raise NothingCounted(f"no pod that shadows candidate {candidate} is scraped any more")
        drawn = _by("chosen", self._series(f"rcnn_shadow_draws_total{{{selector}}}", start, end))
        return ShadowCounts(
            _by("outcome", images),
            self._buckets("rcnn_shadow_disagreement_ratio", matchers, start, end),
            self._buckets("rcnn_shadow_slowdown_ratio", matchers, start, end),
            _by("outcome", self._series(f"rcnn_shadow_objects_total{{{matchers}}}", start, end)),
            _by("reason", self._series(f"rcnn_shadow_dropped_total{{{selector}}}", start, end)),
            (drawn.get("no", 0.0), drawn.get("yes", 0.0)),
            min(row.first for row in images),
        )

    def shadow_details(self, candidate: str, selector: str, start: float, end: float) -> ShadowDetails:
        """What a report tells beyond the verdict, of the same pairs. Raises PrometheusUnavailable."""
        matchers = ",".join(part for part in (f'candidate="{candidate}"', selector) if part)

        def objects(by: str, label: str) -> dict[str, dict[str, float]]:
            rows = self._series(f"rcnn_shadow_{by}_objects_total{{{matchers}}}", start, end)
            names = {row.labels.get(label, "") for row in rows}
            return {name: _by("outcome", [r for r in rows if r.labels.get(label, "") == name]) for name in names}

        def histogram(family: str, *more: str) -> Buckets:
            return self._buckets(f"rcnn_shadow_{family}", ",".join((matchers, *more)), start, end)

        differences = {name: histogram(f"{family}_ratio") for family, name in _DIFFERENCES.items()}
        return ShadowDetails(
            objects("class", "label"),
            objects("size", "size"),
            {name: buckets for name, buckets in differences.items() if sum(buckets.counts)},
            {side: histogram("work_seconds", f'side="{side}"') for side in ("stable", "candidate")},
        )

    def arms(self, candidate: str, selector: str, start: float, end: float, window_s: float) -> Arms:
        """
        Requests and errors by release (`rcnn_release_info`), in whole windows of the clock between two times.

        Read as last seen in each window, so that what a pod counted before it went is counted. Callers' own errors and
        refusals are left out. Over days windows grow. Raises PrometheusUnavailable.
        """
        while end - start > window_s * _MOST_WINDOWS:
            window_s *= 2
        since, until = math.ceil(start / window_s) * window_s, (end - _SETTLED_S) // window_s * window_s
        if until <= since:
            return NO_ARMS
        first = since - math.ceil(_LOOK_BACK_S / window_s) * window_s

        def rows(family: str, *matchers: str) -> list[Series]:
            narrowed = ",".join(part for part in (*matchers, selector) if part)
            latest = f"last_over_time({family}{{{narrowed}}}[{window_s:g}s])"
            by_pod = f"sum without (version, outcome) ({latest})"
            return [_series(row) for row in self._ask(by_pod, first, until, window_s)]

        requests, errors = (rows("rcnn_requests_total", f'outcome=~"{o}"') for o in (f"ok|{_FAILED}", _FAILED))
        return arms_of(candidate, rows("rcnn_release_info"), requests, errors, since)

    def _buckets(self, family: str, matchers: str, start: float, end: float) -> Buckets:
        under = _by("le", self._series(f"{family}_bucket{{{matchers}}}", start, end))
        edges = sorted((float(edge), count) for edge, count in under.items())
        counts, before = [], 0.0
        for _, count in edges:
            counts.append(max(count - before, 0.0))  # pods are scraped one after the other
            before = max(count, before)
        return Buckets([edge for edge, _ in edges] or [math.inf], counts or [0.0])

    def _series(self, query: str, start: float, end: float) -> list["_Growth"]:
        return [_growth(row, start) for row in self._ask(query, start, end, _step(start, end))]

    def _ask(self, query: str, start: float, end: float, step: float) -> list[Mapping[str, Any]]:
        sent: dict[str, str | float] = {"query": query, "start": start, "end": end, "step": step}
        try:
            response = httpx.get(f"{self.url.rstrip('/')}/api/v1/query_range", params=sent, timeout=self.timeout_s)
            body = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise PrometheusUnavailable(f"{self.url}: {type(error).__name__} {error}") from error
        if body.get("status") != "success":
            raise PrometheusUnavailable(f"{self.url}: {body.get('error', response.status_code)}")
        found: list[Mapping[str, Any]] = body["data"]["result"]
        return found


def _series(row: Mapping[str, Any]) -> Series:
    return Series(row["metric"], [(float(at), float(value)) for at, value in row["values"]])


@dataclass(frozen=True)
class _Growth:
    labels: Mapping[str, str]
    by: float
    first: float  # when it was first seen
    last: float


def _growth(row: Mapping[str, Any], start: float) -> _Growth:
    values = [(float(at), float(value)) for at, value in row["values"]]
    return _Growth(
        row["metric"], grown([value for _, value in values], values[0][0] <= start), values[0][0], values[-1][0]
    )


def grown(values: Sequence[float], from_start: bool) -> float:
    """
    How much a counter grew over its samples; where it falls it was started anew, from 0.

    A series first seen within the window counts from 0 too: it was born there (from_start False).
    """
    total, before = 0.0, values[0] if from_start else 0.0
    for value in values:
        total += value - before if value >= before else value
        before = value
    return total


def _by(label: str, rows: Iterable[_Growth]) -> dict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        found[row.labels.get(label, "")] += row.by
    return dict(found)


def _step(start: float, end: float) -> float:
    return max(1.0, math.ceil((end - start) / _MOST_POINTS))
