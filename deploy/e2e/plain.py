"""No controller: a candidate is a release of its own beside the stable one, and `rcnn gate rollout` moves the route."""

import json
import subprocess
import sys
import time
from pathlib import Path

from deploy.cluster.layout import ADDRESSES, certificate
from deploy.e2e.engines import CHART, GATEWAY, HOST, NAME, VALUES, Phase, Progress, workload_release
from deploy.e2e.kubernetes import NAMESPACE, Api, apply, helm, kubectl
from deploy.e2e.releases import Values, merged

NEXT = f"{NAME}-next"
PROMETHEUS = "http://10.100.0.1:9090"


class Plain:
    """The gate runs on the node, as an account that may change routes and no more."""

    url, host, asks_first = GATEWAY, HOST, False

    def __init__(self, folder: Path, inside: str) -> None:
        self._folder, self._inside = folder, inside
        self._gate: subprocess.Popen[bytes] | None = None
        self._changes: Values = {}

    def install(self, changes: Values) -> None:
        self._helm("install", NAME, changes)

    def release(self, changes: Values) -> None:
        """Beside the stable release, under a name that no candidate had before: counts under one name are of one."""
        self._changes, name = changes, f"next-{int(time.time())}"
        candidate = {"fullnameOverride": NEXT, "settings": {"release": name}, "replicas": 1}
        apart = {"gateway": {"http": {"enabled": False}, "canary": {"service": ""}}}
        self._helm("install", NEXT, merged(merged(changes, candidate), apart), "--wait", "--timeout=240s")
        command = [sys.executable, "-m", "service.cli", "gate", "rollout", f"--candidate={name}"]
        command += [f"--prometheus={PROMETHEUS}", f"--namespace={NAMESPACE}", f"--stable={NAME}", f"--canary={NEXT}"]
        command += [f"--http-route={NAME}", "--weights=5,25,50,100", "--least-s=5", "--every-s=2", "--errors=0.02"]
        with (self._folder / f"gate-{name}.log").open("wb") as log:
            self._gate = subprocess.Popen([*command, *self._access()], stdout=log, stderr=log)

    def progress(self, api: Api) -> Progress:
        rules = api.of("gateway.networking.k8s.io/v1", "httproutes", NAME).get("spec", {}).get("rules", [{}])
        weights = {one["name"]: one.get("weight", 1) for one in rules[0].get("backendRefs", [])}
        phases: dict[int | None, Phase] = {None: "moving", 0: "steady"}
        phase = "steady" if self._gate is None else phases.get(self._gate.poll(), "rolled back")
        return Progress(weights.get(NEXT, 0), phase)

    def candidate(self, api: Api) -> str:
        return workload_release(api.of("apps/v1", "deployments", NEXT))

    def settle(self) -> None:
        """The candidate's values become the stable release's, pod by pod; then its own pods go."""
        self._helm("upgrade", NAME, self._changes, "--wait", "--timeout=240s")
        # Helm leaves the weights as they are: in its own manifests they have not changed.
        for backend, weight in enumerate((100, 0)):
            patch = [{"op": "replace", "path": f"/spec/rules/0/backendRefs/{backend}/weight", "value": weight}]
            kubectl("patch", "httproute", NAME, "--type=json", f"--patch={json.dumps(patch)}")
        self.put_right()

    def put_right(self) -> None:
        """The candidate's pods go."""
        helm("uninstall", NEXT, "--wait")
        self._gate = None

    def _access(self) -> list[str]:
        """The account the gate needs by docs/canary-statistics.md, and how it reaches the API server."""
        named = {"name": "gate"}
        rules = [{"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"], "verbs": ["get", "patch"]}]
        rights = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": named}
        subject = {"kind": "ServiceAccount", "name": "gate", "namespace": NAMESPACE}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gate"}
        apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
            {**rights, "kind": "Role", "rules": rules},
            {**rights, "kind": "RoleBinding", "subjects": [subject], "roleRef": reference},
        )
        token = self._folder / "gate.token"
        token.touch(0o600)
        token.write_text(kubectl("create", "token", "gate", "--duration=2h"))
        return [f"--api=https://{ADDRESSES['apiserver']}", f"--token-file={token}", f"--ca-file={certificate('ca')}"]

    def _helm(self, verb: str, name: str, changes: Values, *more: str) -> None:
        file = self._folder / f"values-{name}.json"
        file.write_text(json.dumps(changes, indent=1))
        shared = [f"--values={VALUES / each}.yaml" for each in ("release", "plain", self._inside)]
        helm(verb, name, str(CHART), *shared, f"--values={file}", *more)
