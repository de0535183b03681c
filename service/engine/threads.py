"""How many CPUs this process may really use: a container's quota, not the host's core count."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = _CGROUP) -> int:
    """At least 1: the smaller of the CPU affinity and the cgroup quota (v2 cpu.max or v1 cfs_quota_us), rounded up."""
    affinity = len(os.sched_getaffinity(0))
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return max(1, min(affinity, affinity if quota is None else -int(-quota // 1)))


def _quota_v2(path: Path) -> float | None:
    try:
        quota_us, period_us = path.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota_us == "max" else int(quota_us) / int(period_us)


def _quota_v1(folder: Path) -> float | None:
    try:
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        period_us = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 else None
