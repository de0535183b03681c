"""Asking the cluster, from its node."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from deploy.cluster import layout

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/rcnn"
PROMETHEUS = f"http://{layout.ADDRESSES['prometheus']}"

Object = dict[str, Any]
Answer = TypeVar("Answer")


def run(*command: str, stdin: str = "") -> str:
    """What it prints; fails the test with what it complains of."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def get(namespace: str, *what: str) -> Object:
    found: Object = json.loads(run("kubectl", "--namespace", namespace, "get", *what, "--output=json"))
    return found


def pods(namespace: str) -> list[Object]:
    """The service's pods that are not going."""
    listed = get(namespace, "pods", "--selector=app.kubernetes.io/component=server")["items"]
    return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]


def until(ask: Callable[[], Answer], patience_s: float, what: str) -> Answer:
    """The first answer that is true."""
    give_up_s = time.monotonic() + patience_s
    while not (answer := ask()):
        assert time.monotonic() < give_up_s, f"in {patience_s:g} s never: {what}"
        time.sleep(1)
    return answer
