"""What the judge tells of itself: whether it is asked, what it says, and whether it sees enough to say it."""

from prometheus_client import ProcessCollector

from deploy.judge.verdict import Decision, Verdict
from service.metric_registry import MetricRegistry


class JudgeMetrics(MetricRegistry):
    """Of the verdicts given over HTTP. No label names a candidate: their names are the callers'."""

    def __init__(self) -> None:
        super().__init__()
        self._verdicts = self._counter("rcnn_gate_verdicts", "Verdicts given.", "decision")
        self._unfit = self._counter("rcnn_gate_unfit_verdicts", "Verdicts undecided for want of evidence to trust.")
        self._decision = self._gauge("rcnn_gate_decision", "1 for what the last verdict said, else 0.", "decision")
        self._pairs = self._gauge("rcnn_gate_pairs", "Pairs of answers behind the last verdict.")
        self._given_at = self._gauge("rcnn_gate_last_verdict_timestamp_seconds", "When it was given; 0: none yet.")
        for decision in Decision:
            self._verdicts.labels(decision)
            self._decision.labels(decision)
        ProcessCollector(registry=self.registry)

    def verdict_given(self, verdict: Verdict, at_s: float) -> None:
        """at_s: seconds since the epoch."""
        self._verdicts.labels(verdict.decision).inc()
        if verdict.unfit:
            self._unfit.inc()
        for decision in Decision:
            self._decision.labels(decision).set(decision is verdict.decision)
        self._pairs.set(verdict.subject.get("pairs", 0))
        self._given_at.set(at_s)
