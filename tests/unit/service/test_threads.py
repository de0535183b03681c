"""The engine's threads follow the container's quota."""

import os
from pathlib import Path

import pytest

from service.engine.threads import available_cpus

HOST = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, HOST, id="no cgroup"),
        pytest.param({"cpu.max": "max 100000"}, HOST, id="v2 without quota"),
        pytest.param({"cpu.max": "50000 100000"}, 1, id="v2 half a CPU"),
        pytest.param({"cpu.max": "9900000 100000"}, HOST, id="v2 more than there are"),
        pytest.param({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1, id="v1 one CPU"),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, HOST, id="v1 without quota"),
    ],
)
def test_the_quota_bounds_the_threads(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """cgroup v2, v1, or none."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cpus(tmp_path) == expected
