"""What runs on the node, in the order in which it starts: each with its command line and its sign of being ready."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from deploy.cluster import layout
from deploy.cluster.layout import ADDRESSES
from deploy.cluster.pins import binary


@dataclass(frozen=True, slots=True)
class Component:
    """A process of the node."""

    name: str
    command: list[str]
    ready: str
    """An address that answers 200, or a socket (unix:...) that exists."""
    environment: dict[str, str] = field(default_factory=dict)


def control_plane() -> list[Component]:
    """Up to a node that runs pods."""
    return [_containerd(), _etcd(), _apiserver(), _controller_manager(), _scheduler(), _kubelet(), _proxy(), _dns()]


def add_ons() -> list[Component]:
    """
    What watches, scales and releases. They run beside the pods, not in them, so that no images are needed.

    They need the definitions of their custom resources to be there.
    """
    return [
        _prometheus(),
        _alertmanager(),
        _adapter(),
        _metrics_server(),
        _traefik(),
        _argo_rollouts(),
        _flagger(),
    ]


def _containerd() -> Component:
    command = ["containerd", f"--config={layout.root()}/conf/containerd.toml"]
    return Component("containerd", command, f"unix:{layout.CONTAINERD_SOCKET}")


def _etcd() -> Component:
    url = f"http://{ADDRESSES['etcd']}"
    flags = [f"--data-dir={layout.root()}/etcd", f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
    # A test's data need not outlive a power cut.
    flags += ["--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn"]
    return Component("etcd", [str(binary("etcd")), *flags], f"{url}/health")


def _apiserver() -> Component:
    pki = layout.root() / "pki"
    flags = [
        f"--advertise-address={layout.NODE_ADDRESS}",
        f"--etcd-servers=http://{ADDRESSES['etcd']}",
        f"--service-cluster-ip-range={layout.SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",  # as clusters do: what a pod may is settled by its namespace's Pod Security Standard
        *_served("server"),
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver.crt",
        f"--kubelet-client-key={pki}/apiserver.key",
        "--kubelet-preferred-address-types=InternalIP",  # nobody resolves the node's name
        f"--service-account-key-file={pki}/accounts.pub",
        f"--service-account-signing-key-file={pki}/accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        # The servers of custom.metrics and metrics are asked through the apiserver, under the caller's name.
        f"--proxy-client-cert-file={pki}/apiserver.crt",
        f"--proxy-client-key-file={pki}/apiserver.key",
        f"--requestheader-client-ca-file={pki}/ca.crt",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--enable-aggregator-routing",
    ]
    return Component(
        "kube-apiserver", [str(binary("kube-apiserver")), *flags], f"https://{ADDRESSES['apiserver']}/readyz"
    )


def _controller_manager() -> Component:
    flags = [
        f"--kubeconfig={layout.kubeconfig('controller-manager')}",
        f"--service-account-private-key-file={layout.key('accounts')}",
        f"--root-ca-file={layout.certificate('ca')}",
        "--use-service-account-credentials",
        f"--flex-volume-plugin-dir={layout.root()}/volume-plugins",  # it makes the folder, /usr/libexec otherwise
        "--leader-elect=false",
        *_served("server"),
        "--horizontal-pod-autoscaler-sync-period=5s",  # 15 s otherwise: a test has minutes
    ]
    name = "kube-controller-manager"
    return Component(name, [str(binary(name)), *flags], "https://127.0.0.1:10257/healthz")


def _scheduler() -> Component:
    flags = [f"--kubeconfig={layout.kubeconfig('scheduler')}", "--leader-elect=false", *_served("server")]
    return Component("kube-scheduler", [str(binary("kube-scheduler")), *flags], "https://127.0.0.1:10259/healthz")


def _kubelet() -> Component:
    flags = [
        f"--kubeconfig={layout.kubeconfig('kubelet')}",
        f"--config={layout.root()}/conf/kubelet.yaml",
        f"--root-dir={layout.root()}/kubelet",
        f"--hostname-override={layout.NODE}",
        f"--node-ip={layout.NODE_ADDRESS}",
    ]
    return Component("kubelet", [str(binary("kubelet")), *flags], "http://127.0.0.1:10248/healthz")


def _proxy() -> Component:
    flags = [
        f"--kubeconfig={layout.kubeconfig('proxy')}",
        f"--hostname-override={layout.NODE}",
        f"--cluster-cidr={layout.POD_NETWORK}",
        "--proxy-mode=iptables",
        # The machine's own limits, which a test has no business to change.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]
    return Component("kube-proxy", [str(binary("kube-proxy")), *flags], "http://127.0.0.1:10256/livez")


def _dns() -> Component:
    command = [str(binary("coredns")), f"-conf={layout.root()}/conf/Corefile"]
    return Component("coredns", command, f"http://{ADDRESSES['dns']}/ready")


def _prometheus() -> Component:
    flags = [
        f"--config.file={layout.root()}/conf/prometheus.yaml",
        f"--storage.tsdb.path={layout.root()}/prometheus",
        f"--web.listen-address={ADDRESSES['prometheus']}",
        "--web.enable-lifecycle",
        "--log.level=warn",
    ]
    return Component("prometheus", [str(binary("prometheus")), *flags], f"http://{ADDRESSES['prometheus']}/-/ready")


def _alertmanager() -> Component:
    """Debian's; with the receivers that the project ships, which have nobody to tell here."""
    flags = [
        f"--config.file={Path(__file__).parents[1]}/alerts/alertmanager.yaml",
        f"--storage.path={layout.root()}/alertmanager",
        f"--web.listen-address={ADDRESSES['alertmanager']}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    program = shutil.which("prometheus-alertmanager") or "alertmanager"
    return Component("alertmanager", [program, *flags], f"http://{ADDRESSES['alertmanager']}/-/ready")


def _adapter() -> Component:
    flags = [
        *_extension("custom-metrics"),
        f"--config={layout.root()}/conf/adapter.yaml",
        f"--prometheus-url=http://{ADDRESSES['prometheus']}",
        f"--lister-kubeconfig={layout.kubeconfig()}",
        "--metrics-relist-interval=5s",
    ]
    ready = f"https://{ADDRESSES['custom-metrics']}/readyz"
    return Component("prometheus-adapter", [str(binary("prometheus-adapter")), *flags], ready)


def _metrics_server() -> Component:
    flags = [*_extension("metrics-server"), f"--kubeconfig={layout.kubeconfig()}", "--metric-resolution=10s"]
    flags += ["--kubelet-request-timeout=5s"]  # must be shorter than the resolution
    flags += [f"--kubelet-certificate-authority={layout.certificate('ca')}"]
    flags += ["--kubelet-preferred-address-types=InternalIP"]
    ready = f"https://{ADDRESSES['metrics-server']}/livez"
    return Component("metrics-server", [str(binary("metrics-server")), *flags], ready)


def _traefik() -> Component:
    flags = [
        f"--entrypoints.web.address={ADDRESSES['gateway']}",
        f"--entrypoints.traefik.address={ADDRESSES['traefik']}",
        "--ping",
        "--metrics.prometheus.addserviceslabels",
        "--providers.kubernetesgateway",
        f"--providers.kubernetesgateway.statusaddress.ip={layout.NODE_ADDRESS}",
        "--providers.kubernetescrd",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
    environment = {"KUBECONFIG": str(layout.kubeconfig())}
    return Component("traefik", [str(binary("traefik")), *flags], f"http://{ADDRESSES['traefik']}/ping", environment)


def _argo_rollouts() -> Component:
    flags = [
        f"--kubeconfig={layout.kubeconfig()}",
        "--leader-elect=false",
        # It assumes the API group Traefik had before version 3.
        "--traefik-api-group=traefik.io",
        "--traefik-api-version=traefik.io/v1alpha1",
        "--metricsport=8090",
        "--healthzPort=8091",
    ]
    ready = f"http://{ADDRESSES['argo-rollouts']}/healthz"
    return Component("argo-rollouts", [str(binary("rollouts-controller")), *flags], ready)


def _flagger() -> Component:
    flags = [
        f"-kubeconfig={layout.kubeconfig()}",
        "-mesh-provider=gatewayapi:v1",
        f"-metrics-server=http://{ADDRESSES['prometheus']}",
        "-port=8092",
    ]
    return Component("flagger", [str(binary("flagger")), *flags], f"http://{ADDRESSES['flagger']}/healthz")


def _served(name: str) -> list[str]:
    return [f"--tls-cert-file={layout.certificate(name)}", f"--tls-private-key-file={layout.key(name)}"]


def _extension(name: str) -> list[str]:
    """Flags of a server whose API the apiserver serves as its own."""
    config = layout.kubeconfig()
    who_asks = [f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"]
    return [*_served("server"), *who_asks, f"--secure-port={ADDRESSES[name].split(':')[1]}"]
