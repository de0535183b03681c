"""
Requests and batches as OpenTelemetry spans, sent by OTLP over HTTP. The only importer of opentelemetry.

Nothing of it is on the path of a request: its spans are made from what it left behind, once it has been answered, and
sent by a thread of their own, which drops what it cannot get rid of.
"""

import time
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from service.detections import Answer
from service.tracing import BatchRan, RequestEnded, Trace, Tracer, new_span_id, new_trace_id, parse_traceparent

_RATIO_BITS = 64  # of a trace id, its last: https://opentelemetry.io/docs/specs/otel/trace/sdk/#traceidratiobased


class OtlpTracer(Tracer):
    """Records the requests whose callers record them, and sample_ratio of those that come without a trace."""

    def __init__(self, endpoint: str, sample_ratio: float, version: str) -> None:
        """endpoint: where traces are posted, such as http://collector:4318/v1/traces."""
        self._resource = Resource.create({"service.name": "rcnn", "service.version": version})
        self._scope = InstrumentationScope("rcnn", version)
        self._below = int(sample_ratio * 2**_RATIO_BITS)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))

    def begin(self, traceparent: str | None) -> Trace:
        """A span of its own below the caller's, or a new trace."""
        caller = parse_traceparent(traceparent)
        if caller is not None:
            return Trace(caller.trace_id, new_span_id(), caller.span_id, caller.sampled)
        trace_id = new_trace_id()
        return Trace(trace_id, new_span_id(), None, int(trace_id[16:], 16) < self._below)

    def traceparent(self, trace: Trace | None) -> str | None:
        return trace.traceparent() if trace else None

    def request_ended(self, request: RequestEnded) -> None:
        if request.trace is None or not request.trace.sampled:
            return
        attributes: dict[str, str | int] = {
            "rcnn.protocol": request.protocol,
            "rcnn.outcome": request.outcome,
            "rcnn.request_id": request.request_id,
            "rcnn.images": len(request.answers),
        }
        if request.model is not None:
            attributes |= {"rcnn.model": request.model.name, "rcnn.model.version": request.model.version}
            attributes["rcnn.model.digest"] = request.model.digest
        for index, answer in enumerate(request.answers):
            self._stages(request.trace, index, answer)
        # A refusal for the caller's own fault is no error of ours, as in OpenTelemetry's rules for HTTP servers.
        code = StatusCode.ERROR if request.outcome in ("internal", "engine_failed") else StatusCode.UNSET
        times_s = (request.start_s, request.end_s)
        self._emit("request", request.trace, times_s, attributes, SpanKind.SERVER, status=Status(code))

    def _stages(self, trace: Trace, index: int, answer: Answer) -> None:
        timings = answer.timings
        attributes: dict[str, str | int] = {"rcnn.image": index, "rcnn.batch_size": timings.batch_size}
        if timings.canvas_hw is not None:
            attributes["rcnn.canvas"] = "x".join(map(str, timings.canvas_hw))
        for stage, seconds in timings.stages_s.items():
            start_s = timings.starts_s[stage]
            self._emit(stage, _below(trace), (start_s, start_s + seconds), attributes)

    def batch_ran(self, batch: BatchRan) -> None:
        """A trace of its own, linked to each request in it: none of them is its only parent."""
        recorded = [trace for trace in batch.traces if trace is not None and trace.sampled]
        if not recorded:
            return
        own = Trace(new_trace_id(), new_span_id(), None, True)
        links = [Link(_context(trace.trace_id, trace.span_id)) for trace in recorded]
        attributes: dict[str, str | int] = {"rcnn.model": batch.model.name, "rcnn.batch_size": len(batch.traces)}
        start_s = at_s = batch.start_s
        for stage, seconds in batch.stages_s.items():
            self._emit(stage, _below(own), (at_s, at_s + seconds), attributes)
            at_s += seconds
        self._emit("batch", own, (start_s, at_s), attributes, links=links)

    def close(self) -> None:
        """Send what is left."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _emit(
        self,
        name: str,
        trace: Trace,
        times_s: tuple[float, float],
        attributes: Mapping[str, str | int],
        kind: SpanKind = SpanKind.INTERNAL,
        links: list[Link] | None = None,
        status: Status | None = None,
    ) -> None:
        since_epoch_ns = time.time_ns() - time.perf_counter_ns()
        start_ns, end_ns = (int(at_s * 1e9) + since_epoch_ns for at_s in times_s)
        parent = _context(trace.trace_id, trace.parent_span_id) if trace.parent_span_id else None
        span = ReadableSpan(
            name,
            _context(trace.trace_id, trace.span_id),
            parent,
            self._resource,
            attributes,
            links=links or (),
            kind=kind,
            status=status or Status(StatusCode.UNSET),
            start_time=start_ns,
            end_time=end_ns,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)


def _below(trace: Trace) -> Trace:
    return Trace(trace.trace_id, new_span_id(), trace.span_id, trace.sampled)


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
