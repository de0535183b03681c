"""Prometheus' own tools, where they can be had."""

import os
import shutil

import pytest

PACKAGES = {"promtool": "prometheus", "prometheus": "prometheus", "amtool": "prometheus-alertmanager"}


def find_tool(name: str) -> str:
    """Its path; skips where it is missing, fails where CI is set."""
    found = shutil.which(name)
    if found is None:
        advice = f"no {name}: run make tools, or install {PACKAGES[name]}"
        pytest.fail(advice) if os.environ.get("CI") else pytest.skip(advice)
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    return find_tool("promtool")


@pytest.fixture(scope="session")
def amtool() -> str:
    return find_tool("amtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return find_tool("prometheus")
