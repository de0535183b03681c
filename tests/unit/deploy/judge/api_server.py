"""A small HTTP server that does for routes what Kubernetes' API server does: versions, merge patches, conflicts."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-token"
_GROUP = "/apis/gateway.networking.k8s.io/v1/namespaces/vision"


def route(kind: str, *rules: dict[str, int], status: dict[str, Any] | None = None) -> dict[str, Any]:
    """rules: weight by Service, one dictionary a rule."""
    backends = [[{"name": name, "port": 8000, "weight": weight} for name, weight in rule.items()] for rule in rules]
    return {
        "kind": kind,
        "metadata": {"name": "rcnn", "namespace": "vision", "resourceVersion": "1"},
        "spec": {"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": each} for each in backends]},
        "status": status or {},
    }


@dataclass
class ApiServer:
    """objects by path. before_patch is called before each patch, where another writer can come in between."""

    url: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: list[int] = field(default_factory=list)  # of the canary, as patched, in order
    conflicts: int = 0
    failing: int = 0  # so many requests to come are answered 500
    before_patch: Callable[[], None] = lambda: None

    def weight(self, plural: str = "httproutes", rule: int = 0, name: str = "next") -> int:
        backends = self.objects[f"{_GROUP}/{plural}/rcnn"]["spec"]["rules"][rule]["backendRefs"]
        (found,) = (backend["weight"] for backend in backends if backend["name"] == name)
        return int(found)

    def write(self, weight: int) -> None:
        """Somebody else's change."""
        found = self.objects[f"{_GROUP}/httproutes/rcnn"]
        backends = {backend["name"]: backend for backend in found["spec"]["rules"][0]["backendRefs"]}
        backends["rcnn"]["weight"], backends["next"]["weight"] = 100 - weight, weight
        self._grow(found)

    def patch(self, path: str, patch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.before_patch()
        found = self.objects[path]
        if patch["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            self.conflicts += 1
            return 409, {"kind": "Status", "message": "the object has been modified"}
        merge(found, {**patch, "metadata": {}})
        self._grow(found)
        backends = {backend["name"]: backend["weight"] for backend in found["spec"]["rules"][0]["backendRefs"]}
        self.weights.append(backends["next"])
        return 200, found

    def _grow(self, found: dict[str, Any]) -> None:
        found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)


def merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386: objects are merged, anything else, lists too, is replaced, and null takes away."""
    for name, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            merge(target[name], value)
        elif value is None:
            target.pop(name, None)
        else:
            target[name] = value


@contextmanager
def serving(*routes: dict[str, Any]) -> Iterator[ApiServer]:
    plurals = {"HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes"}
    server = ApiServer(objects={f"{_GROUP}/{plurals[each['kind']]}/rcnn": each for each in routes})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*(self._refusal() or (200, server.objects[self.path])))

        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            refusal = self._refusal()
            if refusal is None and self.headers["Content-Type"] != "application/merge-patch+json":
                refusal = 415, {"message": "unsupported media type"}
            self._answer(*(refusal or server.patch(self.path, json.loads(body))))

        def _refusal(self) -> tuple[int, dict[str, Any]] | None:
            if server.failing:
                server.failing -= 1
                return 500, {"message": "etcd is not there"}
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return 401, {"message": "Unauthorized"}
            return None if self.path in server.objects else (404, {"message": "not found"})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_address[1]}"
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
