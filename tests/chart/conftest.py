"""The chart's tests ask the real helm: what it renders, what it refuses, and with which words."""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/rcnn"
BUILDER = ROOT / "deploy/tools/helm.sh"

Object = dict[str, Any]


class Rendered(list[Object]):
    """What the chart made of some values, in helm's order."""

    def all(self, *kinds: str) -> list[Object]:
        return [item for item in self if item["kind"] in kinds]

    def one(self, kind: str, name_ends: str = "") -> Object:
        (found,) = (item for item in self.all(kind) if item["metadata"]["name"].endswith(name_ends))
        return found

    @property
    def workload(self) -> Object:
        """Deployment or Rollout."""
        (found,) = (item for item in self.all("Deployment", "Rollout") if item["metadata"]["name"] != "demo-rcnn-judge")
        return found

    @property
    def pod(self) -> Object:
        """The spec of the service's pods."""
        spec: Object = self.workload["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Object:
        """The service's container."""
        (found,) = self.pod["containers"]
        container: Object = found
        return container

    @property
    def environment(self) -> dict[str, str]:
        return {variable["name"]: variable["value"] for variable in self.container["env"]}


Render = Callable[..., Rendered]


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

    @cache
    def run(*flags: str, binary: Path = helm) -> subprocess.CompletedProcess[str]:
        command = [str(binary), "template", "demo", str(CHART), "--namespace", "vision", *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """The objects the chart makes of the given flags."""

    def objects(*flags: str, **options: Path) -> Rendered:
        rendered = template(*flags, **options)
        assert rendered.returncode == 0, rendered.stderr
        documents = yaml.load_all(rendered.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return Rendered(document for document in documents if document)

    return objects


@pytest.fixture(scope="session")
def refuse(template: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """What helm says when it refuses the given flags."""

    def message(*flags: str) -> str:
        rendered = template(*flags)
        assert rendered.returncode != 0, "helm accepted these values"
        return rendered.stderr

    return message
