"""How many CPUs this process may really use: a container's quota, not the host's core count."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def available_cpus(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """
    At least 1: the CPU affinity, or the smallest quota of the process's cgroup and those above it, rounded up.

    Quotas are cpu.max (cgroup v2) and cpu.cfs_quota_us (v1). own is /proc/self/cgroup: inside a container the path it
    names is usually the root; on a host, or in a container that shares the host's namespace, the quota lies deeper.
    """
    affinity = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _folders(cgroups, own) if (quota := _quota_v2(folder) or _quota_v1(folder))]
    return max(1, min([affinity, *(math.ceil(quota) for quota in quotas)]))


def _folders(cgroups: Path, own: Path) -> Iterator[Path]:
    """The process's own cgroup folders, each with its parents: of v2's one hierarchy and of v1's cpu controller."""
    yield cgroups
    yield cgroups / "cpu"
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers  # v2 names no controller
        inside = PurePosixPath(path.lstrip("/"))
        yield from (root / part for part in (inside, *inside.parents) if ".." not in part.parts)


def _quota_v2(folder: Path) -> float | None:
    try:
        quota_us, period_us = (folder / "cpu.max").read_text().split()
        return None if quota_us == "max" else int(quota_us) / int(period_us)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        period_us = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 else None
