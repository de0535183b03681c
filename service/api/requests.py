"""What every door does alike around a request: its id, its deadline, its count, its log line. Knows no protocol."""

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
from service.security.caller import current_caller

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


@contextmanager
def accounted(metrics: Metrics, protocol: str, id: str) -> Iterator[Outcome]:
    """Count, time and log one request, however it ends. Errors go on to the door, which renders them."""
    outcome, start = Outcome(), time.perf_counter()
    code = "ok"
    try:
        yield outcome
    except ServiceError as error:
        code = error.code
        _count_error(metrics, error)
        raise
    except BaseException as error:
        code = "internal" if isinstance(error, Exception) else "cancelled"
        if code == "cancelled":
            metrics.cancelled("request")
        raise
    finally:
        _finish(metrics, protocol, id, outcome, code, time.perf_counter() - start)


def _count_error(metrics: Metrics, error: ServiceError) -> None:
    if isinstance(error, Overloaded):
        metrics.shed(error.reason)
    elif isinstance(error, RateLimited | QuotaExceeded):
        metrics.shed(error.code)
    elif isinstance(error, CallerLeft):
        metrics.cancelled("request")
    elif isinstance(error, CallerError):
        metrics.rejected(error.code)


def _finish(metrics: Metrics, protocol: str, id: str, outcome: Outcome, code: str, seconds: float) -> None:
    metrics.request_done(outcome.model, protocol, code, seconds)
    line: dict[str, object] = {
        "request_id": id,
        "protocol": protocol,
        "outcome": code,
        "total_ms": round(seconds * 1e3, 2),
        "caller": current_caller().name,
    }
    if outcome.answers:
        first = outcome.answers[0]
        line |= {
            "model": first.model.name,
            "version": first.model.version,
            "images": len(outcome.answers),
            "detections": sum(len(answer.detections) for answer in outcome.answers),
            "batch_size": first.timings.batch_size,
            "stages_ms": {stage: round(s * 1e3, 2) for stage, s in first.timings.stages_s.items()},
        }
    _log.info("request", **line)
