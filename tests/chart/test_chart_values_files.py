"""Every values file the chart ships: valid for each Kubernetes promised, and true to what we promise of releases."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm/rcnn"
SCHEMAS = Path(__file__).parent / "schemas"
GOLDEN = Path(__file__).parent / "golden"
VALUES_FILES = [CHART / "values.yaml", *sorted((CHART / "examples").glob("*.yaml"))]
VERSIONS = [f"1.{minor}" for minor in range(29, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]
NEEDS = {"edge": 33}
"""The least minor version of examples that ask for more than the chart itself: image volumes."""

Render = Callable[..., Any]

every_values_file = pytest.mark.parametrize("values", VALUES_FILES, ids=lambda path: path.stem)


def rendered(render: Render, values: Path, version: str = VERSIONS[-1]) -> Any:
    return render("--values", str(values), "--kube-version", f"{version}.0")


def pods_of(objects: Any) -> list[dict[str, Any]]:
    return [objects.pod, *(test["spec"] for test in objects.all("Pod"))]


def containers_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_is_rendered_is_valid_kubernetes(render: Render, version: str) -> None:
    """Strictly, by that version's own schemas: an unknown field is an error, not a warning somebody overlooks."""
    seen = set()
    for path in VALUES_FILES:
        if int(version.split(".")[1]) < NEEDS.get(path.stem, 29):
            continue
        # The templates tell only 1.29 from the rest.
        for item in rendered(render, path, version if version == "1.29" else VERSIONS[-1]):
            if not custom_schema(item).exists() and (item["kind"], shape(item)) not in seen:
                kubernetes_validate.validate(item, version, strict=True)
                seen.add((item["kind"], shape(item)))


def shape(value: Any) -> str:
    """The same for objects with the same keys and types of values: one of them stands for all."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shape(child)}' for key, child in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(shape(child) for child in value)}]"
    return type(value).__name__


@every_values_file
def test_custom_resources_are_valid_by_their_makers_schemas(render: Render, values: Path) -> None:
    """Argo Rollouts, Flagger, KEDA, Gateway API and the Prometheus operator: strictly, too."""
    for item in rendered(render, values):
        schema = custom_schema(item)
        if schema.exists():
            jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(item)
        else:
            assert "." not in item["apiVersion"].split("/")[0] or "k8s.io" in item["apiVersion"], item["apiVersion"]


def custom_schema(item: dict[str, Any]) -> Path:
    return SCHEMAS / f"{item['apiVersion'].replace('/', '_')}_{item['kind']}.json"


@every_values_file
def test_every_pod_meets_the_restricted_standard(render: Render, values: Path) -> None:
    """A namespace that enforces restricted Pod Security admits the service, its init container and its helm tests."""
    for pod in pods_of(rendered(render, values)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers_of(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@every_values_file
def test_every_container_is_bounded_and_none_floats(render: Render, values: Path) -> None:
    """A memory limit, a CPU request, and an image that is named by a version."""
    for pod in pods_of(rendered(render, values)):
        for container in containers_of(pod):
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
            assert re.search(r"(:[0-9][^:/]*|@sha256:[0-9a-f]{64})$", container["image"]), container["image"]


@every_values_file
def test_only_one_hand_is_on_the_number_of_pods(render: Render, values: Path) -> None:
    """Under an autoscaler the workload names no replicas: an upgrade would undo what the autoscaler did."""
    objects = rendered(render, values)
    scalers = objects.all("HorizontalPodAutoscaler", "ScaledObject")
    assert len(scalers) <= 1
    assert ("replicas" in objects.workload["spec"]) == (not scalers)
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        workload = objects.workload
        assert (target["apiVersion"], target["kind"], target["name"]) == (
            workload["apiVersion"],
            workload["kind"],
            workload["metadata"]["name"],
        )


@every_values_file
def test_every_selector_finds_the_pods(render: Render, values: Path) -> None:
    """Services, budget, policy, monitor and spread: each selects this release's pods, and nobody's else."""
    objects = rendered(render, values)
    labels = objects.workload["spec"]["template"]["metadata"]["labels"].items()
    selectors = [item["spec"]["selector"] for item in objects.all("Service")]
    selectors += [item["spec"]["selector"]["matchLabels"] for item in objects.all("PodDisruptionBudget", "PodMonitor")]
    selectors += [item["spec"]["podSelector"]["matchLabels"] for item in objects.all("NetworkPolicy")]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in objects.pod["topologySpreadConstraints"]]
    selectors.append(objects.workload["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels
        assert selector["app.kubernetes.io/instance"] == "demo"


@every_values_file
def test_every_name_that_is_referred_to_exists(render: Render, values: Path) -> None:
    """Routes, rollouts and helm tests name Services that are rendered, or that Flagger or another release makes."""
    objects = rendered(render, values)
    made = {item["metadata"]["name"] for item in objects.all("Service")} | {"rcnn-next"}
    for route in objects.all("HTTPRoute", "GRPCRoute"):
        for rule in route["spec"]["rules"]:
            assert sum(backend["weight"] for backend in rule["backendRefs"]) == 100
            assert {backend["name"] for backend in rule["backendRefs"]} <= made
    for rollout in objects.all("Rollout"):
        canary = rollout["spec"]["strategy"]["canary"]
        assert {canary["stableService"], canary["canaryService"]} <= made


@every_values_file
def test_every_query_is_about_this_release_alone(render: Render, values: Path) -> None:
    """Two releases in one cluster must not scale or judge each other; and no argument of an analysis is empty."""
    objects = rendered(render, values)
    queries = [
        trigger["metadata"]["query"]
        for item in objects.all("ScaledObject")
        for trigger in item["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]
    assert all('namespace="vision", job="demo-rcnn"' in query for query in queries)
    for monitor in objects.all("PodMonitor", "ServiceMonitor"):
        (endpoint,) = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
        assert {"targetLabel": "job", "replacement": "demo-rcnn"} in endpoint["relabelings"]
    for item in objects.all("AnalysisTemplate"):
        (metric,) = item["spec"]["metrics"]
        asked = metric["provider"]["web"]["url"]
        assert "namespace=vision&job=demo-rcnn&canary={{args.canary-hash}}&stable={{args.stable-hash}}" in asked
    for rollout in objects.all("Rollout"):
        analyses = [step["analysis"] for step in rollout["spec"]["strategy"]["canary"]["steps"] if "analysis" in step]
        given = {arg["name"]: arg["valueFrom"]["podTemplateHashValue"] for run in analyses for arg in run["args"]}
        assert given == {"canary-hash": "Latest", "stable-hash": "Stable"}


@every_values_file
def test_what_is_rendered_is_what_was_looked_at(template: Any, values: Path) -> None:
    """
    A change of a template shows in the diff of a commit. RCNN_UPDATE_GOLDEN=1 writes the files anew. What is made from
    other files of the chart (rules, dashboards, helm tests) is left out.
    """
    result = template("--values", str(values), "--kube-version", "1.36.0")
    objects = [item for item in yaml.safe_load_all(result.stdout) if item and not is_made_from_files(item)]
    text = yaml.safe_dump_all(objects, sort_keys=True, width=140)
    golden = GOLDEN / values.name
    if os.environ.get("RCNN_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text(), "run it with RCNN_UPDATE_GOLDEN=1 and look at the diff"


def is_made_from_files(item: dict[str, Any]) -> bool:
    return item["kind"] in ("PrometheusRule", "Pod") or item["metadata"]["name"].endswith("-dashboards")
