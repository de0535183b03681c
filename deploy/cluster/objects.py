"""The objects every test expects in the cluster: definitions of custom resources, the metrics APIs, a gateway."""

import os
import subprocess
from pathlib import Path

from deploy.cluster import layout
from deploy.cluster.pins import binary, read_pins

MANIFESTS = Path(__file__).parent / "manifests"


def apply_base() -> None:
    """Definitions first, then what needs them. Raises CalledProcessError, with kubectl's words in the node's log."""
    for pin in read_pins().values():
        if pin.files and pin.built:
            kubectl("apply", "--server-side", *_files(pin.folder / "files"))
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    kubectl("apply", "--server-side", *_files(MANIFESTS))


def apply_with(component: str) -> None:
    """What a component needs in the cluster and would be in the way without it: a namespace whose objects some absent
    server should list cannot be deleted. Raises CalledProcessError."""
    manifest = MANIFESTS / "with" / f"{component}.yaml"
    if manifest.exists():
        kubectl("apply", "--server-side", f"--filename={manifest}")


def wait_until_ready() -> None:
    """Until pods can be scheduled."""
    kubectl("wait", "--for=condition=Ready", f"node/{layout.NODE}", "--timeout=60s")


def kubectl(*arguments: str) -> None:
    command = [str(binary("kubectl")), f"--kubeconfig={layout.kubeconfig()}", *arguments]
    environment = {**os.environ, "KUBECACHEDIR": str(layout.root() / "kubectl")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def _files(folder: Path) -> list[str]:
    """Not the folder itself: some makers keep a kustomization beside their definitions, which is no object."""
    return [
        f"--filename={path}"
        for path in sorted(folder.glob("*.yaml")) + sorted(folder.glob("*.yml"))
        if path.stem != "kustomization"
    ]
