"""Start the node, run something on it, tell how it is, and end it without a trace."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from deploy.cluster import layout, preconditions
from deploy.cluster.build import build
from deploy.cluster.configuration import write_configuration
from deploy.cluster.isolation import UNSHARE, enter
from deploy.cluster.pins import read_pins
from deploy.cluster.pki import write_certificates

_START_S, _END_S, _POLL_S = 300.0, 30.0, 0.2


class CannotStart(Exception):
    """Why the node did not come up."""


class NotRunning(Exception):
    """There is no node."""


def up(parts: Sequence[str] | None = None) -> None:
    """
    Returns when pods can be scheduled and everything is ready. Raises Missing, BuildFailed, CannotStart.

    parts are built first if they are not yet, None for all but optional ones; add-ons that are not built are left out.
    """
    if running_pid() is not None:
        print("the cluster is up already")
        return
    down()
    preconditions.check()
    build(parts)
    layout.root().mkdir(parents=True)
    layout.log("node").parent.mkdir()
    write_certificates()
    write_configuration()
    with layout.log("node").open("wb") as log:
        command = [*UNSHARE, sys.executable, "-m", "deploy.cluster.node"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    _pid_file().write_text(str(process.pid))
    _follow(process)
    print(f"KUBECONFIG={layout.kubeconfig()}")


def run(command: list[str]) -> NoReturn:
    """Become `command`, on the node. Raises NotRunning."""
    pid = running_pid()
    if pid is None:
        raise NotRunning("it is not up; make cluster starts it")
    programs = [str(pin.folder) for pin in read_pins().values()]
    os.environ["PATH"] = os.pathsep.join([*programs, os.environ["PATH"]])
    os.environ |= {"KUBECONFIG": str(layout.kubeconfig()), "KUBECACHEDIR": str(layout.root() / "kubectl")}
    # The node has no way out, so a proxy of this machine is none of its own.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    entered = enter(pid, Path.cwd(), command)
    os.execvp(entered[0], entered)  # nosec B606


def status() -> int:
    """Print what runs; 0 when all does, 1 when something ended, 3 when there is no node."""
    if running_pid() is None:
        print("down")
        return 3
    states: dict[str, int | None] = json.loads((layout.root() / "status.json").read_text())
    for name, code in states.items():
        print(f"{name:24}{'runs' if code is None else f'ended with {code}; see {layout.log(name)}'}")
    return 0 if all(code is None for code in states.values()) and (layout.root() / "ready").exists() else 1


def down() -> None:
    """End every process of the node, with which its namespaces and mounts go, and remove what it wrote."""
    pid = running_pid()
    if pid is not None:
        os.kill(_first_process(pid), signal.SIGKILL)
        _wait_for_end(pid)
    if layout.root().exists():
        _remove_cgroups()
        shutil.rmtree(layout.root())


def running_pid() -> int | None:
    """Of the process that holds the node's namespaces, seen from the machine."""
    try:
        pid = int(_pid_file().read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid if b"deploy.cluster.node" in command else None


def _first_process(pid: int) -> int:
    """The node's process 1, seen from the machine. It ends last of all, and `pid`, which waits for it, after it."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                return int(stat.parent.name)
    return pid


def _pid_file() -> Path:
    return layout.root() / "pid"


def _follow(process: "subprocess.Popen[bytes]") -> None:
    """Show the node's own words until it is ready."""
    give_up_s = time.monotonic() + _START_S
    with layout.log("node").open() as log:
        while not (layout.root() / "ready").exists():
            print(log.read(), end="", flush=True)
            if process.poll() is not None or time.monotonic() > give_up_s:
                raise CannotStart(f"it did not start:\n{layout.log('node').read_text()[-2000:]}")
            time.sleep(_POLL_S)
        print(log.read(), end="", flush=True)


def _wait_for_end(pid: int) -> None:
    give_up_s = time.monotonic() + _END_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < give_up_s:
        with suppress(ChildProcessError):  # started by an earlier command: somebody else's child
            os.waitpid(pid, os.WNOHANG)
        time.sleep(_POLL_S)


def _remove_cgroups() -> None:
    """The pods' cgroups, innermost first. A process that was killed leaves its own a moment later."""
    give_up_s = time.monotonic() + _END_S
    for top in preconditions.pod_cgroups():
        inside = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
        for folder in [*inside, top]:
            _remove_empty(folder, give_up_s)


def _remove_empty(folder: Path, give_up_s: float) -> None:
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(_POLL_S)
