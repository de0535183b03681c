"""`make stack`: a real Prometheus beside the service, with data in it a moment later."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.stack.configuration import RULES


def need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        if "CI" in os.environ:
            pytest.fail(f"no {tool}: make tools")
        pytest.skip(f"no {tool}: make tools")
    return found


def free_ports(count: int) -> int:
    """The first of count neighbouring ports that were free a moment ago."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for index, open_socket in enumerate(sockets):
                open_socket.bind(("127.0.0.1", first + index))
            return first
        except OSError:
            continue
        finally:
            for open_socket in sockets:
                open_socket.close()
    raise AssertionError("no free ports")


def ask(port: int, query: str) -> list[Any]:
    response = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}, timeout=10)
    result: list[Any] = response.raise_for_status().json()["data"]["result"]
    return result


@pytest.mark.slow
def test_the_stack_shows_data_in_one_step_and_leaves_nothing_behind() -> None:
    """Both shipped models have been asked and Prometheus knows; SIGTERM ends all of it."""
    need("prometheus")
    port = free_ports(4)
    command = [sys.executable, "-m", "deploy.stack", f"--port={port}", f"--prometheus-port={port + 3}", "--rate=4"]
    stack = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert stack.stdout is not None
        assert any(line.startswith("traffic") for line in stack.stdout)
        deadline, models = time.monotonic() + 90, set[str]()
        while models != {"nuclei", "blood-cells"}:
            assert time.monotonic() < deadline, models
            rows = ask(port + 3, 'sum by (model) (rcnn_requests_total{outcome="ok"})')
            models = {row["metric"]["model"] for row in rows}
            time.sleep(0.5)
        assert ask(port + 3, 'up{job="rcnn"}')[0]["value"][1] == "1"
    finally:
        stack.send_signal(signal.SIGTERM)
        assert stack.wait(60) == 0
        stack.stdout.close()  # type: ignore[union-attr]
    for gone in (port, port + 3):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{gone}/")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"DCGM_FI_DEV_GPU_UTIL": "50", "DCGM_FI_DEV_GPU_TEMP": "40"}, 0.5),
        ({"DCGM_FI_DEV_GPU_UTIL_RATIO": "0.5", "DCGM_FI_DEV_GPU_TEMP_CELSIUS": "40"}, 0.5),
    ],
)
def test_gpu_series_have_one_name_whatever_the_exporter_calls_them(
    tmp_path: Path, names: dict[str, str], expected: float
) -> None:
    """`promtool test rules` on the older names and on those with units."""
    series = [{"series": f'{name}{{gpu="0"}}', "values": f"{value}x5"} for name, value in names.items()]
    tests = [
        {"expr": record, "eval_time": "2m", "exp_samples": [{"labels": f'{record}{{gpu="0"}}', "value": value}]}
        for record, value in (("gpu:utilization_ratio", expected), ("gpu:temperature_celsius", 40))
    ]
    content = {
        "rule_files": [str(RULES)],
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(content))
    checked = subprocess.run(
        [need("promtool"), "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
