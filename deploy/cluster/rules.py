"""What the Prometheus operator does elsewhere: the cluster's PrometheusRules, into Prometheus."""

import json
import subprocess

import httpx
import yaml

from deploy.cluster import layout
from deploy.cluster.pins import binary


def hand_over_rules() -> list[str]:
    """
    Replace Prometheus' rules by those in the cluster; their names, namespace/name. Runs on the node.

    Raises httpx.HTTPStatusError if Prometheus does not take them.
    """
    command = [str(binary("kubectl")), "get", "prometheusrules", "--all-namespaces", "--output=json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    folder = layout.root() / "conf" / "rules"
    for old in folder.iterdir():
        old.unlink()
    for rule in listed["items"]:
        name = f"{rule['metadata']['namespace']}-{rule['metadata']['name']}.yaml"
        (folder / name).write_text(yaml.safe_dump(rule["spec"]))
    httpx.post(f"http://{layout.ADDRESSES['prometheus']}/-/reload", timeout=30, trust_env=False).raise_for_status()
    return [f"{rule['metadata']['namespace']}/{rule['metadata']['name']}" for rule in listed["items"]]
