"""What every door does alike around a request: its id, its deadline, its count, its log line. Knows no protocol."""

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from service.detections import Answer, ModelId, Priority
from service.errors import (
    CallerError,
    CallerLeft,
    InvalidOption,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    ServiceError,
)
from service.metrics import Metrics
from service.security.audit import record
from service.security.caller import current_caller
from service.tracing import RequestEnded, Trace, Tracer, current_trace

_log = structlog.get_logger("request")
_SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(sent: str | None) -> str:
    """The caller's id if it is short and plain enough to be echoed and logged, else a new one."""
    return sent if sent and _SAFE_ID.fullmatch(sent) else uuid.uuid4().hex


def priority(sent: str | None) -> Priority:
    """What X-Request-Priority asks for. Raises InvalidOption."""
    match sent:
        case None | "normal":
            return "normal"
        case "high":
            return "high"
    raise InvalidOption(f"X-Request-Priority: expected normal or high, got {sent!r}.")


@dataclass
class Outcome:
    """Filled in by the door as the request goes."""

    model: ModelId | None = None  # once it is known which model is asked
    answers: list[Answer] = field(default_factory=list)


class Accounting:
    """Counts, times, traces, logs and audits requests, however they end."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self.metrics, self.tracer = metrics, tracer

    @contextmanager
    def request(self, protocol: str, id: str, trace: Trace | None, action: str = "detect") -> Iterator[Outcome]:
        """One request, from here to the end of the block. Errors go on to the door, which renders them."""
        outcome, start_s = Outcome(), time.perf_counter()
        code, entered = "ok", current_trace.set(trace)
        try:
            yield outcome
        except ServiceError as error:
            code = error.code
            _count_error(self.metrics, error)
            raise
        except BaseException as error:
            code = "internal" if isinstance(error, Exception) else "cancelled"
            if code == "cancelled":
                self.metrics.cancelled("request")
            raise
        finally:
            current_trace.reset(entered)
            end_s = time.perf_counter()
            ended = RequestEnded(trace, id, protocol, code, outcome.model, outcome.answers, start_s, end_s)
            # In the loop's next turn: this one sends the answer, which need not wait for its count and its log line.
            asyncio.get_running_loop().call_soon(self._ended, ended, action)

    def _ended(self, ended: RequestEnded, action: str) -> None:
        seconds = ended.end_s - ended.start_s
        self.metrics.request_done(ended.model, ended.protocol, ended.outcome, seconds, ended.trace)
        self.tracer.request_ended(ended)
        _log.info("request", **_line(ended))
        _audit(ended, action)


def _audit(ended: RequestEnded, action: str) -> None:
    model = ended.model
    what = {"model": model.name, "version": model.version, "digest": model.digest} if model else {}
    request = {"request_id": ended.request_id, "protocol": ended.protocol, "images": len(ended.answers)}
    record(action, ended.outcome, **request, **what)


def _count_error(metrics: Metrics, error: ServiceError) -> None:
    if isinstance(error, Overloaded):
        metrics.shed(error.reason)
    elif isinstance(error, RateLimited | QuotaExceeded):
        metrics.shed(error.code)
    elif isinstance(error, CallerLeft):
        metrics.cancelled("request")
    elif isinstance(error, CallerError):
        metrics.rejected(error.code)


def _line(ended: RequestEnded) -> dict[str, object]:
    """What is logged: nothing that was in the request but its id. Stages, canvas and company are of its first image."""
    line: dict[str, object] = {"request_id": ended.request_id}
    if ended.trace is not None:
        line["trace_id"] = ended.trace.trace_id
    line |= {
        "protocol": ended.protocol,
        "outcome": ended.outcome,
        "total_ms": round((ended.end_s - ended.start_s) * 1e3, 2),
        "caller": current_caller().name,
    }
    if (model := ended.model) is not None:
        line |= {"model": model.name, "version": model.version, "digest": model.digest}
    if ended.answers:
        timings = ended.answers[0].timings
        line |= {
            "images": len(ended.answers),
            "detections": sum(len(answer.detections) for answer in ended.answers),
            "canvas_hw": timings.canvas_hw,
            "batch_size": timings.batch_size,
            "stages_ms": {stage: round(s * 1e3, 2) for stage, s in timings.stages_s.items()},
        }
    return line
