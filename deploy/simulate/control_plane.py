"""
etcd, an API server and the autoscaler's controller alone, on loopback: Kubernetes without nodes.

Pods exist as objects whose state the caller writes. Nothing listens on any address but 127.0.0.1.
"""

import json
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_START_S = 180.0
_POLL_S = 0.5
_NOBODY = "192.0.2.1"  # RFC 5737: nothing is there, and nothing is sent there

Object = dict[str, Any]


@dataclass(frozen=True)
class ControlPlane:
    """client: speaks to the API server as its administrator."""

    client: httpx.Client

    def apply(self, path: str, body: Object) -> None:
        """Create. Raises httpx.HTTPStatusError with the API server's refusal."""
        self.client.post(path, json=body).raise_for_status()

    def patch(self, path: str, body: Object) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        self.client.patch(path, content=json.dumps(body), headers=headers).raise_for_status()

    def get(self, path: str) -> Object:
        found: Object = self.client.get(path).raise_for_status().json()
        return found


@contextmanager
def running(binaries: Path, folder: Path, sync_s: float) -> Iterator[ControlPlane]:
    """
    binaries: folder with etcd, kube-apiserver and kube-controller-manager. folder: for their data, keys and logs.

    Raises RuntimeError where one of them does not start; its log is in folder.
    """
    etcd, peer, api = (_free_port() for _ in range(3))
    token = secrets.token_hex(16)
    _write_keys(folder, token, api)
    with ExitStack() as processes:
        at = f"http://127.0.0.1:{etcd}"
        flags = [f"--listen-client-urls={at}", f"--advertise-client-urls={at}", f"--data-dir={folder}/etcd"]
        flags += [f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync", "--log-level=error"]
        processes.enter_context(_process(binaries / "etcd", flags, folder))
        processes.enter_context(_process(binaries / "kube-apiserver", _api_flags(folder, etcd, api), folder))
        headers = {"Authorization": f"Bearer {token}"}
        url = f"https://127.0.0.1:{api}"
        trusted = ssl.create_default_context(cafile=str(folder / "server.crt"))
        client = processes.enter_context(
            httpx.Client(base_url=url, headers=headers, verify=trusted, timeout=30, trust_env=False)
        )
        _wait_until_ready(client, folder)
        flags = [f"--kubeconfig={folder}/kubeconfig", "--leader-elect=false", "--secure-port=0"]
        flags += ["--controllers=horizontal-pod-autoscaler-controller"]
        flags += [f"--horizontal-pod-autoscaler-sync-period={sync_s}s"]
        processes.enter_context(_process(binaries / "kube-controller-manager", flags, folder))
        yield ControlPlane(client)


def _api_flags(folder: Path, etcd: int, api: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={api}",
        f"--advertise-address={_NOBODY}",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={folder}/server.crt",
        f"--tls-private-key-file={folder}/server.key",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=AlwaysAllow",
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/server.key",
        f"--service-account-signing-key-file={folder}/server.key",
    ]


def _write_keys(folder: Path, token: str, api: int) -> None:
    """A certificate for 127.0.0.1 and localhost, a token for the administrator, and a kubeconfig with both."""
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", f"{folder}/server.key", "-out", f"{folder}/server.crt", "-addext", names]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{token},admin,1,system:masters\n")
    cluster = {"server": f"https://127.0.0.1:{api}", "certificate-authority": f"{folder}/server.crt"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(json.dumps(config))


@contextmanager
def _process(program: Path, flags: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{program.name}.log").open("wb") as log:
        process = subprocess.Popen([program, *flags], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(client: httpx.Client, folder: Path) -> None:
    give_up_s = time.monotonic() + _START_S
    while time.monotonic() < give_up_s:
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass  # not listening yet
        time.sleep(_POLL_S)
    raise RuntimeError(f"the API server was not ready after {_START_S:.0f} s; its log is in {folder}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
