"""The engine's threads follow the container's quota."""

import os
from pathlib import Path

import pytest

from service.engine.threads import available_cpus

HOST = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        pytest.param("", {}, HOST, id="no cgroup"),
        pytest.param("0::/", {"cpu.max": "max 100000"}, HOST, id="v2 without quota"),
        pytest.param("0::/", {"cpu.max": "50000 100000"}, 1, id="v2 half a CPU"),
        pytest.param("0::/", {"cpu.max": "9900000 100000"}, HOST, id="v2 more than there are"),
        pytest.param("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "100000 100000"}, 1, id="v2 a parent's"),
        pytest.param("0::/../x", {"cpu.max": "100000 100000"}, 1, id="v2 outside the namespace"),
        pytest.param("", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1, id="v1 one CPU"),
        pytest.param("", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, HOST, id="v1 no quota"),
        pytest.param(
            "4:memory:/m\n3:cpu,cpuacct:/pod",
            {"cpu,cpuacct/pod/cpu.cfs_quota_us": "90000", "cpu,cpuacct/pod/cpu.cfs_period_us": "100000"},
            1,
            id="v1 in the host's namespace",
        ),
    ],
)
def test_the_quota_bounds_the_threads(tmp_path: Path, own: str, files: dict[str, str], expected: int) -> None:
    """cgroup v2, v1, or none; one's own or that of a group above."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert available_cpus(tmp_path, tmp_path / "own") == expected
