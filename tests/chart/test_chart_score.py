"""kube-score's view of every values file: nothing but the exceptions explained here, and none of these in vain."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/rcnn"
TOOL = ROOT / "deploy/tools/kube_score.sh"
VALUES_FILES = [CHART / "values.yaml", *sorted((CHART / "examples").glob("*.yaml"))]
FINE = 10  # kube-score's grades are 1 (critical), 5 (warning), 7 (almost) and 10

Template = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Accepted:
    """A finding that stands, and why."""

    says: str
    because: str
    only_in: tuple[str, ...] = ()
    """Values files by stem; empty: everywhere."""
    only_of: str = ""
    """A part of the object's name."""


EXCEPTIONS = (
    Accepted("CPU limit is not set", "a limit throttles a batch half-way; the request keeps the CPU free"),
    Accepted("Ephemeral Storage limit is not set", "the root is read-only and every emptyDir has a sizeLimit"),
    Accepted("Ephemeral Storage request is not set", "the same; add ephemeral-storage to resources where a quota asks"),
    Accepted(
        "ImagePullPolicy is not set to Always", "a release is an image that does not change, never a floating tag"
    ),
    Accepted("The pod does not have a matching NetworkPolicy", "asks once and ends", only_of="-test-"),
    Accepted("The pod does not have a matching NetworkPolicy", "a laptop: no policy is asked for", only_in=("dev",)),
    Accepted("Deployment does not have a host podAntiAffinity set", "topologySpreadConstraints spread the pods"),
    Accepted("Deployment few replicas", "one device, one pod", only_in=("dev", "edge", "gpu")),
    Accepted("The service is of type NodePort", "a device at the edge has no load balancer", only_in=("edge",)),
    Accepted("selector does not match any pods", "it does not know Argo's Rollout", only_in=("canary-argo",)),
    Accepted("selector doesn't match any pods", "it does not know Argo's Rollout", only_in=("canary-argo",)),
)


@pytest.fixture(scope="session")
def kube_score() -> str:
    found = subprocess.run([TOOL, "--cached"], capture_output=True, text=True, check=False)
    if found.returncode:
        advice = f"no kube-score: run {TOOL.relative_to(ROOT)}, which builds it"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    return found.stdout.strip()


@pytest.fixture(scope="session")
def findings(kube_score: str, template: Template) -> dict[str, list[tuple[str, str]]]:
    """By values file: the object and the words of everything that is not fine."""
    return {path.stem: list(_findings(kube_score, template, path)) for path in VALUES_FILES}


def _findings(kube_score: str, template: Template, values: Path) -> Iterator[tuple[str, str]]:
    rendered = template("--values", str(values))
    assert rendered.returncode == 0, rendered.stderr
    command = [kube_score, "score", "--output-format", "json", "-"]
    scored = subprocess.run(command, input=rendered.stdout, capture_output=True, text=True, check=False)
    objects: list[dict[str, Any]] = json.loads(scored.stdout)
    assert objects, scored.stderr
    for item in objects:
        for check in item["checks"]:
            if check["grade"] < FINE and not check["skipped"]:
                yield from ((item["object_name"], comment["summary"]) for comment in check["comments"])


def _explains(accepted: Accepted, values: str, name: str, summary: str) -> bool:
    somewhere = not accepted.only_in or values in accepted.only_in
    return somewhere and accepted.only_of in name and accepted.says in summary


def test_every_finding_is_an_exception_with_a_reason(findings: dict[str, list[tuple[str, str]]]) -> None:
    unexplained = [
        (values, name, summary)
        for values, found in findings.items()
        for name, summary in found
        if not any(_explains(exception, values, name, summary) for exception in EXCEPTIONS)
    ]
    assert unexplained == []


def test_no_exception_is_made_for_what_is_fine(findings: dict[str, list[tuple[str, str]]]) -> None:
    found = [(values, name, summary) for values, all_found in findings.items() for name, summary in all_found]
    unused = [e for e in EXCEPTIONS if not any(_explains(e, *one) for one in found)]
    assert unused == []
