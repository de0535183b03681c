"""
Make tests/chart/schemas: what the chart's custom resources are validated against, from their makers' own CRDs.

    python3 -m deploy.tools.crd_schemas tests/chart/schemas      needs Go, which fetches the modules (some 100 MB, once)

Only the kinds the chart renders; without descriptions, and strict: a property the CRD does not know is refused.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

SOURCES = {
    "github.com/argoproj/argo-rollouts@v1.9.1": (
        "manifests/crds/rollout-crd.yaml",
        "manifests/crds/analysis-template-crd.yaml",
    ),
    "github.com/fluxcd/flagger@v1.36.1": ("artifacts/flagger/crd.yaml",),
    "github.com/kedacore/keda/v2@v2.21.0": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "sigs.k8s.io/gateway-api@v1.4.0": (
        "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    "github.com/cert-manager/cert-manager@v1.21.2": ("deploy/crds/cert-manager.io_certificates.yaml",),
}
KINDS = {
    *("Rollout", "AnalysisTemplate", "Canary", "ScaledObject"),
    *("PodMonitor", "PrometheusRule", "ServiceMonitor", "GRPCRoute", "HTTPRoute", "Certificate"),
}
ABOUT_VALUES = {
    *("type", "format", "enum", "pattern", "required", "uniqueItems", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems"),
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for module, paths in SOURCES.items():
        root = module_folder(module)
        for path in paths:
            for crd in yaml.safe_load_all((root / path).read_text()):
                if crd and crd["spec"]["names"]["kind"] in KINDS:
                    write_schemas(folder, crd, f"{module}/{path}")


def module_folder(module: str) -> Path:
    fetched = subprocess.run(["go", "mod", "download", "-json", module], check=True, capture_output=True, text=True)
    return Path(json.loads(fetched.stdout)["Dir"])


def write_schemas(folder: Path, crd: dict[str, Any], source: str) -> None:
    group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
    for version in crd["spec"]["versions"]:
        if not version["storage"]:
            continue
        schema = strict(version["schema"]["openAPIV3Schema"])
        # What every object may carry; the API server itself adds these to each CRD.
        schema["properties"] |= {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        }
        schema["$comment"] = f"made by deploy/tools/crd_schemas.py from {source}"
        name = f"{group}_{version['name']}_{kind}.json"
        (folder / name).write_text(json.dumps(schema, sort_keys=True, separators=(",", ":")) + "\n")


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of a CRD's structural schema; where it lists the properties, no others are accepted."""
    made = {key: schema[key] for key in ABOUT_VALUES & schema.keys()}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if "properties" in schema:
        made["properties"] = {name: strict(child) for name, child in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        made["items"] = strict(schema["items"])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in schema:
            made[key] = [constraint(child) for child in schema[key]]
    if "not" in schema:
        made["not"] = constraint(schema["not"])
    if schema.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def constraint(schema: dict[str, Any]) -> dict[str, Any]:
    """A condition on a value whose properties are listed elsewhere."""
    made = {key: schema[key] for key in ABOUT_VALUES & schema.keys()}
    if "properties" in schema:
        made["properties"] = {name: constraint(child) for name, child in schema["properties"].items()}
    for key in ("allOf", "anyOf", "oneOf"):
        if key in schema:
            made[key] = [constraint(child) for child in schema[key]]
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]))
