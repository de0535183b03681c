"""What the machine must bring, checked before anything is started: one sentence says what is missing."""

import os
import shutil
from pathlib import Path

_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "mount": "mount",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
_POD_CGROUPS = ("kubepods", "*/kubepods")


class Missing(Exception):
    """What is missing, and how to bring it."""


def check() -> None:
    """Raises Missing."""
    if os.geteuid() != 0:
        raise Missing("not root: namespaces, mounts and containers need it; run it with sudo, or in a virtual machine")
    packages = {package for program, package in _PACKAGES.items() if not shutil.which(program)}
    if not Path("/usr/lib/cni/bridge").exists():
        packages.add("containernetworking-plugins")
    if packages:
        raise Missing(f"some programs are not here; on Debian: apt-get install {' '.join(sorted(packages))}")
    if pod_cgroups():
        raise Missing(f"a kubelet runs on this machine already, or one died here: {pod_cgroups()[0]} exists")


def pod_cgroups() -> list[Path]:
    """Where a kubelet keeps its pods' processes, in each hierarchy."""
    return [path for pattern in _POD_CGROUPS for path in Path("/sys/fs/cgroup").glob(pattern)]
