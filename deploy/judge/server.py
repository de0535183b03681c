"""
The judge for canary controllers, over HTTP.

`GET /verdict?candidate=NAME` is for Argo Rollouts' web metric provider: the verdict as JSON, 200 whatever it says.
`POST /flagger/rollback` and `POST /flagger/confirm` are for Flagger's webhooks, which know only yes (200) and no (403):
the first says yes to a rollback, the second to a promotion, so that undecided is neither.
`GET /metrics` is for Prometheus.
"""

import json
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deploy.judge.metrics import JudgeMetrics
from deploy.judge.prometheus import Prometheus
from deploy.judge.shadow_gate import Policy
from deploy.judge.verdict import Decision, Verdict
from deploy.judge.watch import Rollout, look

_MOST_BODY_BYTES = 1_000_000
_FLAGGER = {"/flagger/rollback": Decision.ROLLBACK, "/flagger/confirm": Decision.PROMOTE}


def create_server(
    host: str,
    port: int,
    prometheus: Prometheus,
    policy: Policy,
    selector: str,
    horizon_s: float,
    warm_up_s: float = 0.0,
    window_s: float = 30.0,
    twin: str | None = None,
) -> ThreadingHTTPServer:
    """Answers from everything counted in the last horizon_s: a candidate's name is its own, so that is its rollout."""

    told = JudgeMetrics()

    def verdict_on(candidate: str) -> Verdict:
        now = time.time()
        asked = Rollout(candidate, selector, twin, warm_up_s, window_s)
        verdict = look(prometheus, asked, policy, now - horizon_s, now)
        told.verdict_given(verdict, now)
        return verdict

    class Handler(_Handler):
        judge = staticmethod(verdict_on)
        metrics = told

    return _Server((host, port), Handler)


class _Server(ThreadingHTTPServer):
    """Callers that hang up are no error of ours."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    judge: Callable[[str], Verdict]
    metrics: JudgeMetrics

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        candidate = parse_qs(asked.query).get("candidate", [""])[0]
        if asked.path == "/healthz":
            self._answer(200, {"status": "ok"})
        elif asked.path == "/metrics":
            self._send(200, "text/plain; version=0.0.4; charset=utf-8", type(self).metrics.as_text())
        elif asked.path != "/verdict":
            self._answer(404, {"error": "expected /verdict?candidate=NAME"})
        elif not _is_name(candidate):
            self._answer(400, {"error": "candidate: expected the name the candidate is shadowed by"})
        else:
            self._answer(200, type(self).judge(candidate).document())

    def do_POST(self) -> None:
        wanted = _FLAGGER.get(urlsplit(self.path).path)
        length = self.headers.get("Content-Length", "0")
        if wanted is None or not length.isdecimal() or int(length) > _MOST_BODY_BYTES:
            self._answer(404, {"error": f"expected one of {', '.join(_FLAGGER)}"})
            return
        try:
            candidate = json.loads(self.rfile.read(int(length)))["metadata"]["candidate"]
        except (ValueError, KeyError, TypeError):
            candidate = ""
        if not _is_name(candidate):
            self._answer(400, {"error": "metadata.candidate: expected the name the candidate is shadowed by"})
            return
        verdict = type(self).judge(candidate)
        self._answer(200 if verdict.decision is wanted else 403, verdict.document())

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Controllers ask every few seconds."""


def _is_name(candidate: object) -> bool:
    """A label value that needs no quoting in a query."""
    return isinstance(candidate, str) and bool(candidate) and all(c.isalnum() or c in "._-" for c in candidate)
