"""What happened to one request: the value that the driver makes, and the report and the plot read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Failure = Literal["timeout", "no connection", "connection lost", "malformed answer", "wrong image"]
"""
How a request can fail without an error status.

timeout            no whole answer in the time allowed, counted from the moment the request was due
no connection      refused, or the name did not resolve
connection lost    the server hung up before the answer was whole
malformed answer   status 200, but not the JSON that was promised
wrong image        status 200, but the answer is about an image of another size: two callers were mixed up
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, if anything did."""

    status: int | None = None
    failure: Failure | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    retry_after_s: float | None = None
    request_id: str | None = None
    detections_digest: str | None = None
    """Of the detections as they were sent: equal digests are equal answers, to the last digit."""
    is_from_cache: bool = False
    """The service said so in X-Cache."""
    release: str | None = None
    """Which release answered, where it says so in X-Release."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, from due to done. Moments are in seconds since the run began."""

    picture: str
    due_s: float
    sent_s: float
    done_s: float
    reply: Reply
    kind: str = ""
    """What its caller was, where a run has several: a step of a ramp, slow or not, with masks or without."""

    @property
    def latency_ms(self) -> float:
        """From the moment the request was due, not from when the client got round to it: waiting counts."""
        return (self.done_s - self.due_s) * 1e3

    @property
    def lag_ms(self) -> float:
        """How late this client was with its own schedule. Large values mean that the client is the bottleneck."""
        return (self.sent_s - self.due_s) * 1e3

    @property
    def is_ok(self) -> bool:
        return self.reply.status == 200 and self.reply.failure is None

    @property
    def is_refusal(self) -> bool:
        """Turned away because of load (429) or because the server is starting or draining (503)."""
        return self.reply.status in (429, 503)

    @property
    def outcome(self) -> str:
        """The failure where there is one, else the status: the key under which requests are counted."""
        return self.reply.failure or str(self.reply.status)
