"""Trace contexts as W3C writes them (https://www.w3.org/TR/trace-context/), and what a tracer is told."""

import os
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from service.detections import Answer, ModelId

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


@dataclass(frozen=True)
class Trace:
    """Where a request stands in a trace: ids in hexadecimal. sampled: somebody records it."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    sampled: bool

    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)
"""The trace of the request under way, for those who see it from inside: batches and exemplars."""


def parse_traceparent(sent: str | None) -> Trace | None:
    """The caller's own context, or None where it sent none or a malformed one, which W3C says to ignore."""
    found = _TRACEPARENT.fullmatch(sent) if sent else None
    if found is None or (found[1] == "00" and found[5]):
        return None
    return Trace(found[2], found[3], None, bool(int(found[4], 16) & _SAMPLED))


@dataclass(frozen=True)
class RequestEnded:
    """One request, however it ended; without a trace where its caller sent none and none was begun. Times are of
    time.perf_counter()."""

    trace: Trace | None
    request_id: str
    protocol: str
    outcome: str
    model: ModelId | None
    answers: Sequence[Answer]
    start_s: float
    end_s: float


@dataclass(frozen=True)
class BatchRan:
    """One batch and the traces of the requests in it. start_s is of time.perf_counter()."""

    model: ModelId
    traces: Sequence[Trace | None]
    start_s: float
    stages_s: Mapping[str, float]


class Tracer:
    """Records nothing; a caller's own trace is still named in logs and exemplars."""

    def begin(self, traceparent: str | None) -> Trace | None:
        """The trace a new request belongs to; what is not recorded here is the caller's, unchanged."""
        return parse_traceparent(traceparent)

    def traceparent(self, trace: Trace | None) -> str | None:
        """What the answer's header says; None: no header, for no span of ours could be found under it."""
        return None

    def request_ended(self, request: RequestEnded) -> None: ...

    def batch_ran(self, batch: BatchRan) -> None: ...

    def close(self) -> None: ...


def new_trace_id() -> str:
    return os.urandom(16).hex()


def new_span_id() -> str:
    return os.urandom(8).hex()
