"""
The node's first process: makes the network, starts the components one after another, and minds them until it is killed.

Started by `python -m deploy.cluster up` in namespaces of its own. When it ends, the kernel ends everything else.
"""

import json
import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import httpx

from deploy.cluster import layout
from deploy.cluster.components import Component, add_ons, control_plane
from deploy.cluster.images import load_pause
from deploy.cluster.isolation import isolate
from deploy.cluster.network import make_network
from deploy.cluster.objects import apply_base, apply_with, wait_until_ready

_START_S, _POLL_S = 120.0, 0.1


class NotReady(Exception):
    """A component ended or did not become ready; the message names its log."""


class Node:
    """The running components."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._trust = ssl.create_default_context(cafile=str(layout.certificate("ca")))

    def start(self, component: Component) -> None:
        """Returns when it is ready. Raises NotReady."""
        started_s = time.monotonic()
        with layout.log(component.name).open("wb") as log:
            environment = {**os.environ, **component.environment}
            process = subprocess.Popen(
                component.command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._running[component.name] = process
        while not self._answers(component.ready):
            if process.poll() is not None or time.monotonic() > started_s + _START_S:
                raise NotReady(f"{component.name} is not ready; its log is {layout.log(component.name)}")
            time.sleep(_POLL_S)
        print(f"{component.name} ready after {time.monotonic() - started_s:.1f} s", flush=True)
        self._write_status()

    def mind(self) -> None:
        """Reap what ends, orphans of ended containers among it, and keep the status true; forever."""
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            ours = {process.pid: process for process in self._running.values()}
            if ended.si_pid in ours:
                ours[ended.si_pid].wait()
                self._write_status()
            else:
                os.waitpid(ended.si_pid, 0)

    def _answers(self, ready: str) -> bool:
        if ready.startswith("unix:"):
            return Path(ready.removeprefix("unix:")).is_socket()
        try:
            return httpx.get(ready, verify=self._trust, trust_env=False, timeout=2).is_success
        except httpx.TransportError:
            return False

    def _write_status(self) -> None:
        states = {name: process.poll() for name, process in self._running.items()}
        written = layout.root() / "status.json.new"
        written.write_text(json.dumps(states))
        written.rename(layout.root() / "status.json")


def main() -> None:
    isolate()
    make_network()
    node = Node()
    for component in control_plane():
        node.start(component)
        if component.name == "containerd":
            load_pause()
    apply_base()
    for component in add_ons():
        if shutil.which(component.command[0]):
            node.start(component)
            apply_with(component.name)
        else:
            print(f"{component.name} is left out: it is not built", flush=True)
    wait_until_ready()
    (layout.root() / "ready").touch()
    node.mind()


if __name__ == "__main__":
    try:
        main()
    except NotReady as problem:
        raise SystemExit(str(problem)) from problem
