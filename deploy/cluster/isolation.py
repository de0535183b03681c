"""
What the node sees of the machine: its own processes, its own network, its own /run and /var/log, what it writes below
/var/lib, and kernel settings that already are what the kubelet would set them to. All of it is gone with the first
process of the node.
"""

import subprocess
from pathlib import Path

from deploy.cluster import layout

UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")

# The kubelet writes these, for the whole machine, unless it finds them so.
_KUBELET_WANTS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def isolate() -> None:
    """Cover what would be shared, in the mount namespace this process is in. Raises CalledProcessError."""
    for own, over in (("run", "/run"), ("log", "/var/log")):
        (layout.root() / own).mkdir(exist_ok=True)
        _bind(layout.root() / own, Path(over))
    _keep_writes_apart(Path("/var/lib"), layout.root() / "lib")  # the kubelet's and the network plugins' fixed places
    for name, value in _KUBELET_WANTS.items():
        copy = layout.root() / "sysctl" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(f"{value}\n")
        _bind(copy, Path("/proc/sys") / name)
    resolver = Path("/etc/resolv.conf").resolve()
    resolver.parent.mkdir(parents=True, exist_ok=True)  # where it pointed into the /run that is covered now
    resolver.touch()
    _bind(layout.root() / "conf" / "resolv.conf", resolver)


def _keep_writes_apart(target: Path, own: Path) -> None:
    """target as it is, but what is written there goes to `own`."""
    for part in ("written", "work"):
        (own / part).mkdir(parents=True)
    layers = f"lowerdir={target},upperdir={own}/written,workdir={own}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "rcnn-e2e", str(target)], check=True)


def enter(pid: int, folder: Path, command: list[str]) -> list[str]:
    """The command line that runs `command` on the node which process `pid` has unshared, in `folder`."""
    namespaces = f"/proc/{pid}/ns"
    kinds = [f"--net={namespaces}/net", f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children"]
    return ["nsenter", *kinds, "--", "env", f"--chdir={folder}", *command]


def _bind(source: Path, target: Path) -> None:
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
