"""kubectl and helm as the story uses them, and the API server's own words read over `kubectl proxy`."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

NAMESPACE = "e2e"
_POLL_S = 0.5
_PATIENCE_S = 60.0
"""The API server shares the processors with all that is played."""
_HELM = Path(__file__).parents[1] / "tools/helm.sh"

Object = dict[str, Any]


class Unexpected(Exception):
    """The cluster did not do what the story says it does; the message says what was awaited and what was seen."""


def kubectl(*arguments: str, given: str | None = None) -> str:
    return _run(["kubectl", f"--namespace={NAMESPACE}", *arguments], given)


def apply(*objects: Object) -> None:
    for each in objects:
        kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", given=json.dumps(each))


def helm(*arguments: str) -> str:
    """Helm 3, which leaves alone what the engines edit: Helm 4 does so with --server-side=false."""
    program = _run([str(_HELM), "--cached", "v3.21.4"], None).strip()
    return _run([program, f"--namespace={NAMESPACE}", *arguments], None)


def _run(command: list[str], given: str | None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unexpected(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Api:
    """Read objects as JSON. Cheap enough to be asked every second."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=_PATIENCE_S, trust_env=False)

    def get(self, path: str) -> Object | None:
        """None where there is no such object."""
        response = self._client.get(path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        found: Object = response.json()
        return found

    def of(self, group: str, plural: str, name: str) -> Object:
        """An object of the story's namespace; {} where there is none. group: apps/v1, or v1 for the core."""
        root = "/api/v1" if group == "v1" else f"/apis/{group}"
        return self.get(f"{root}/namespaces/{NAMESPACE}/{plural}/{name}") or {}

    def pods(self, release: str) -> list[Object]:
        """Of a Helm release's servers."""
        labels = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=server"
        found = self.get(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={labels}") or {"items": []}
        items: list[Object] = found["items"]
        return items


@contextmanager
def open_api() -> Iterator[Api]:
    proxy = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert proxy.stdout is not None
        address = proxy.stdout.readline().split()[-1]  # Starting to serve on 127.0.0.1:41234
        yield Api(f"http://{address}")
    finally:
        proxy.terminate()
        proxy.wait()


def wait_for(what: str, holds: Callable[[], bool], limit_s: float, seen: Callable[[], object] = lambda: "") -> float:
    """Seconds until it held. Raises Unexpected after limit_s, with what was seen last."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > limit_s:
            raise Unexpected(f"waited {limit_s:.0f} s for {what}; seen: {seen()}")
        time.sleep(_POLL_S)
    return time.monotonic() - began


def require_image(api: Api, image: str, limit_s: float = 30.0) -> None:
    """Raises Unexpected if no node has it: none would fetch it. A node says every ten seconds what it has."""

    def is_there() -> bool:
        nodes = (api.get("/api/v1/nodes") or {"items": []})["items"]
        return any(image in each.get("names", []) for node in nodes for each in node["status"].get("images", []))

    wait_for(f"a node that has {image} (`make image cluster-load` brings it there)", is_there, limit_s)


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    going = "deletionTimestamp" in pod["metadata"]
    return not going and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
