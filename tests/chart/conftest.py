"""The chart's tests ask the real helm: what it renders, what it refuses, and with which words."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/rcnn"
BUILDER = ROOT / "deploy/tools/helm.sh"

Render = Callable[..., dict[str, dict[str, Any]]]


def find_helm(*version: str) -> Path | None:
    """The helm that deploy/tools/helm.sh has built, if it has."""
    found = subprocess.run([BUILDER, "--cached", *version], capture_output=True, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


@pytest.fixture(scope="session")
def helm() -> Path:
    on_path = shutil.which("helm")
    found = find_helm() or (Path(on_path) if on_path else None)
    if found is None:
        advice = f"no helm: run {BUILDER.relative_to(ROOT)}, which builds the one we test with, or put a helm on PATH"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    return found


@pytest.fixture(scope="session")
def helm_3() -> Path:
    """Optional, in CI too: the other major, for comparison."""
    found = find_helm("v3.21.4")
    if found is None:
        pytest.skip(f"no helm 3: run {BUILDER.relative_to(ROOT)} v3.21.4")
    return found


@pytest.fixture(scope="session")
def template(helm: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`helm template demo` with the given flags, succeeded or not."""

    def run(*flags: str, binary: Path = helm) -> subprocess.CompletedProcess[str]:
        command = [str(binary), "template", "demo", str(CHART), "--namespace", "vision", *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """What the chart makes of the given flags: objects by kind."""

    def objects(*flags: str, **options: Path) -> dict[str, dict[str, Any]]:
        rendered = template(*flags, **options)
        assert rendered.returncode == 0, rendered.stderr
        return by_kind(rendered.stdout)

    return objects


@pytest.fixture(scope="session")
def refuse(template: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """What helm says when it refuses the given flags."""

    def message(*flags: str) -> str:
        rendered = template(*flags)
        assert rendered.returncode != 0, "helm accepted these values"
        return rendered.stderr

    return message


def by_kind(manifest: str) -> dict[str, dict[str, Any]]:
    documents = [document for document in yaml.safe_load_all(manifest) if document]
    kinds = [document["kind"] for document in documents]
    assert len(kinds) == len(set(kinds)), f"two objects of one kind, the tests look them up by it: {kinds}"
    return dict(zip(kinds, documents, strict=True))
