"""Where the node's files are and which addresses it has: one place, because components must agree about both."""

from pathlib import Path

from deploy.cluster.pins import cache

NODE = "node1"
NODE_ADDRESS = "10.100.0.1"
NODE_NETWORK = "10.100.0.1/24"
POD_NETWORK = "10.244.0.0/24"
SERVICE_NETWORK = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
DOMAIN = "cluster.local"

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
"""As the node sees it: its /run is our own folder."""

ADDRESSES = {
    "apiserver": "127.0.0.1:6443",
    "etcd": "127.0.0.1:2379",
    "dns": f"{NODE_ADDRESS}:8181",
    "prometheus": f"{NODE_ADDRESS}:9090",
    "alertmanager": f"{NODE_ADDRESS}:9093",
    "gateway": f"{NODE_ADDRESS}:8088",
    "traefik": f"{NODE_ADDRESS}:8099",
    "custom-metrics": f"{NODE_ADDRESS}:6444",
    "metrics-server": f"{NODE_ADDRESS}:6445",
    "argo-rollouts": f"{NODE_ADDRESS}:8091",
    "flagger": f"{NODE_ADDRESS}:8092",
}


def root() -> Path:
    """Everything the running node writes; `down` removes it."""
    return cache() / "cluster"


def log(name: str) -> Path:
    return root() / "log" / f"{name}.log"


def kubeconfig(who: str = "admin") -> Path:
    return root() / "kubeconfig" / f"{who}.yaml"


def certificate(name: str) -> Path:
    return root() / "pki" / f"{name}.crt"


def key(name: str) -> Path:
    return root() / "pki" / f"{name}.key"
