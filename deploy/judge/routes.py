"""
How traffic is split, read from and written to Gateway API routes through the Kubernetes API.

Objects are changed by merge patches (RFC 7386) that name the resourceVersion they were made from, so that the API
server refuses one that would overwrite somebody else's change; it is then made anew.
"""

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

_PLURALS = {"HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes"}
_CONFLICT, _TOO_MANY_REQUESTS, _SERVER_ERROR = 409, 429, 500

T = TypeVar("T")


class ClusterUnavailable(Exception):
    """The API server does not answer, or only with errors of its own."""


class RouteInvalid(Exception):
    """The route is not there, may not be changed, or does not split traffic between the two; asking again is no use."""


class TakenOver(Exception):
    """Somebody else has set other weights meanwhile."""


class _Again(Exception):
    """Worth another try."""


@dataclass(frozen=True)
class Route:
    """kind: HTTPRoute or GRPCRoute."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        plural = _PLURALS[self.kind]
        return f"/apis/gateway.networking.k8s.io/v1/namespaces/{self.namespace}/{plural}/{self.name}"


@dataclass(frozen=True)
class Cluster:
    """An API server. token_file is read for each request: the kubelet renews it."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 10.0
    attempts: int = 30
    pause_s: float = 1.0  # between them, unless another writer was first

    def get(self, route: Route) -> dict[str, Any]:
        return self._patiently(lambda: self._ask("GET", route, None))

    def change(self, route: Route, patch_of: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """
        Patch the route by what patch_of makes of it, anew where another writer was first.

        Raises ClusterUnavailable, RouteInvalid, and whatever patch_of raises.
        """

        def once() -> dict[str, Any]:
            found = self._ask("GET", route, None)
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            return self._ask("PATCH", route, {"metadata": version, **patch_of(found)})

        self._patiently(once)

    def _patiently(self, once: Callable[[], T]) -> T:
        problem = ""
        for attempt in range(self.attempts):
            try:
                return once()
            except _Again as error:
                problem = str(error)
                time.sleep(self.pause_s if attempt and attempt < self.attempts - 1 else 0)
        raise ClusterUnavailable(f"{self.url}: {problem}, {self.attempts} times")

    def _ask(self, method: str, route: Route, patch: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if patch is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            if self.token_file is not None:
                headers["Authorization"] = f"Bearer {self.token_file.read_text().strip()}"
            trusted = ssl.create_default_context(cafile=self.ca_file)
            url = f"{self.url.rstrip('/')}{route.path}"
            response = httpx.request(method, url, json=patch, headers=headers, timeout=self.timeout_s, verify=trusted)
        except (httpx.HTTPError, OSError) as error:
            raise _Again(f"{type(error).__name__} {error}") from error
        return _read(response, f"{method} of {route}")


def _read(response: httpx.Response, asked: str) -> dict[str, Any]:
    status = response.status_code
    if status in (_CONFLICT, _TOO_MANY_REQUESTS) or status >= _SERVER_ERROR:
        raise _Again(f"{asked}: {status}")
    try:
        body: dict[str, Any] = response.json()
    except ValueError as error:
        raise _Again(f"{asked}: {status}, and no JSON") from error
    if not response.is_success:
        raise RouteInvalid(f"{asked} is refused: {status} {body.get('message', '')}")
    return body


@dataclass(frozen=True)
class Split:
    """Traffic between two Services of a namespace, in all of routes alike."""

    cluster: Cluster
    routes: Sequence[Route]
    stable: str
    canary: str

    def check(self) -> None:
        """Raises RouteInvalid for a route that does not split traffic between the two, or that its Gateway refuses."""
        for route in self.routes:
            found = self.cluster.get(route)
            self._rules(route, found)
            for condition in _refusals(found):
                raise RouteInvalid(f"{route}: {condition}")

    def shift(self, weight: int, expected: int | None = None) -> None:
        """
        Send weight per cent to the canary, the rest to stable.

        Raises TakenOver, changing nothing more, where the canary's weight is not the expected one. A route that cannot
        be changed does not keep the others from it.
        """
        problems: list[Exception] = []
        for route in self.routes:
            try:
                self.cluster.change(route, partial(self._patch, route, weight, expected))
            except (ClusterUnavailable, RouteInvalid) as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def _patch(self, route: Route, weight: int, expected: int | None, found: dict[str, Any]) -> dict[str, Any]:
        for rule in self._rules(route, found):
            backends = {backend["name"]: backend for backend in rule["backendRefs"]}
            seen = backends[self.canary].get("weight", 1)
            if expected is not None and seen not in (expected, weight):  # weight: a try whose answer was lost
                raise TakenOver(f"{route}: {self.canary} has the weight {seen}, not {expected} as set here")
            backends[self.stable]["weight"], backends[self.canary]["weight"] = 100 - weight, weight
        return {"spec": {"rules": found["spec"]["rules"]}}

    def _rules(self, route: Route, found: dict[str, Any]) -> list[dict[str, Any]]:
        """Those that split traffic; one that names only one of the two, such as for a header, is not ours to change."""
        both = {self.stable, self.canary}
        rules = [
            rule
            for rule in found["spec"].get("rules") or []
            if both <= {backend["name"] for backend in rule.get("backendRefs") or []}
        ]
        if not rules or any(len(rule["backendRefs"]) > len(both) for rule in rules):
            raise RouteInvalid(f"{route}: expected a rule whose backendRefs are {self.stable} and {self.canary} alone")
        return rules


def _refusals(found: dict[str, Any]) -> list[str]:
    """What the Gateways say against the route as it is."""
    parents = (found.get("status") or {}).get("parents") or []
    conditions = [condition for parent in parents for condition in parent.get("conditions") or []]
    return [
        f"{condition['type']} is False: {condition.get('message') or condition.get('reason')}"
        for condition in conditions
        if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] == "False"
    ]
