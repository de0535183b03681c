"""The API custom.metrics.k8s.io/v1beta1 with values of the caller's choice, as an extension of an API server."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.simulate.control_plane import ControlPlane

METRIC = "rcnn_queued_work_seconds"
_ROOT = "/apis/custom.metrics.k8s.io/v1beta1"
_STAMP = "2026-01-01T00:00:00Z"

ValuesOf = Callable[[str], Mapping[str, int]]
"""Namespace -> {pod: thousandths}; called once for each question."""


@contextmanager
def served(plane: ControlPlane, folder: Path, values_of: ValuesOf) -> Iterator[None]:
    """Until the block ends. folder: that of the control plane, whose certificate is shown."""

    class Handler(_Handler):
        ask = staticmethod(values_of)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _register(plane, server.server_address[1])
        yield
    finally:
        server.shutdown()


def _register(plane: ControlPlane, port: int) -> None:
    """By a name instead of an address: an API server refuses loopback addresses, and resolves names."""
    name = {"name": "custom-metrics", "namespace": "kube-system"}
    service = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    plane.apply("/api/v1/namespaces", {"metadata": {"name": "kube-system"}}) if not _has_system(plane) else None
    plane.apply("/api/v1/namespaces/kube-system/services", {"metadata": name, "spec": service})
    spec = {
        "group": "custom.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {**name, "port": port},
    }
    body = {"metadata": {"name": "v1beta1.custom.metrics.k8s.io"}, "spec": spec}
    plane.apply("/apis/apiregistration.k8s.io/v1/apiservices", body)


def _has_system(plane: ControlPlane) -> bool:
    names = [each["metadata"]["name"] for each in plane.get("/api/v1/namespaces")["items"]]
    return "kube-system" in names


class _Handler(BaseHTTPRequestHandler):
    ask: ValuesOf

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        parts = path.removeprefix(f"{_ROOT}/").split("/")  # namespaces/NAME/pods/*/METRIC
        if path == _ROOT:
            self._answer(_resources())
        elif len(parts) == 5 and parts[0] == "namespaces" and parts[4] == METRIC:
            self._answer(_values(parts[1], type(self).ask(parts[1])))
        else:
            self.send_error(404)

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """The controller asks every few seconds."""


def _resources() -> dict[str, Any]:
    told = {
        "name": f"pods/{METRIC}",
        "singularName": "",
        "namespaced": True,
        "kind": "MetricValueList",
        "verbs": ["get"],
    }
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "custom.metrics.k8s.io/v1beta1",
        "resources": [told],
    }


def _values(namespace: str, values: Mapping[str, int]) -> dict[str, Any]:
    items = [
        {
            "describedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "/v1"},
            "metricName": METRIC,
            "timestamp": _STAMP,
            "value": f"{milli}m",
        }
        for pod, milli in values.items()
    ]
    return {"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta1", "metadata": {}, "items": items}
