"""What the tests on a real Kubernetes share. They run on its node: `make test-cluster`."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest

from deploy.cluster import layout
from deploy.cluster.images import names
from tests.cluster.kubernetes import ROOT, run

IMAGE = "localhost/rcnn:0.1.0"
HELMS = ("v3.21.4", "v4.2.4")
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture(scope="session", autouse=True)
def image() -> str:
    """The project's own image, on the node."""
    if os.environ.get("KUBECONFIG") != str(layout.kubeconfig()):
        pytest.fail("not on the node: make test-cluster brings the cluster up and runs these tests there")
    if IMAGE not in names():
        pytest.fail(f"{IMAGE} is not on the node: make image, then make cluster-load")
    return IMAGE


@pytest.fixture(scope="session", params=HELMS)
def helm(request: pytest.FixtureRequest) -> Callable[..., str]:
    """`helm ARGUMENTS`, of each major version; what it prints."""
    built = subprocess.run([ROOT / "deploy/tools/helm.sh", request.param], check=True, capture_output=True, text=True)
    return lambda *arguments: run(built.stdout.strip(), *arguments)


@pytest.fixture(scope="session")
def helm_4() -> Callable[..., str]:
    built = subprocess.run([ROOT / "deploy/tools/helm.sh"], check=True, capture_output=True, text=True)
    return lambda *arguments: run(built.stdout.strip(), *arguments)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A new one that enforces the restricted Pod Security Standard."""
    name = f"vision-{uuid.uuid4().hex[:6]}"
    run("kubectl", "create", "namespace", name)
    run("kubectl", "label", "namespace", name, RESTRICTED)
    yield name
    run("kubectl", "delete", "namespace", name, "--wait=true", "--timeout=120s")
