"""Trace contexts, by the rules of W3C Trace Context."""

import pytest

from service.tracing import Trace, Tracer, parse_traceparent

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_callers_context_is_read_and_written_back() -> None:
    """The example of the recommendation."""
    trace = parse_traceparent(f"00-{TRACE_ID}-{SPAN_ID}-01")
    assert trace == Trace(TRACE_ID, SPAN_ID, None, True)
    assert trace.traceparent() == f"00-{TRACE_ID}-{SPAN_ID}-01"
    assert parse_traceparent(f"00-{TRACE_ID}-{SPAN_ID}-02") == Trace(TRACE_ID, SPAN_ID, None, False)


def test_a_later_version_may_say_more() -> None:
    """Its first four parts mean what they mean in version 00."""
    assert parse_traceparent(f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-holds") == Trace(
        TRACE_ID, SPAN_ID, None, True
    )


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"00-{TRACE_ID}-{SPAN_ID}-01\n",
    ],
)
def test_what_is_not_a_context_is_ignored(sent: str | None) -> None:
    """As W3C asks, rather than refused."""
    assert parse_traceparent(sent) is None


def test_without_tracing_no_span_is_promised() -> None:
    """The caller's trace is known to logs and exemplars; an answer names no span that nobody records."""
    tracer = Tracer()
    trace = tracer.begin(f"00-{TRACE_ID}-{SPAN_ID}-01")
    assert trace is not None and tracer.traceparent(trace) is None
