"""The files that components read: written anew at each start, because they name paths."""

import json
from pathlib import Path

import yaml

from deploy.cluster import layout

HERE = Path(__file__).parent


def write_configuration() -> None:
    """conf/ below the node's folder."""
    folder = layout.root() / "conf"
    (folder / "cni").mkdir(parents=True)
    (folder / "rules").mkdir()
    (folder / "containerd.toml").write_text(_containerd())
    (folder / "cni" / "10-pods.conflist").write_text(json.dumps(_pod_network(), indent=1))
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet()))
    (folder / "resolv.conf").write_text(f"nameserver {layout.NODE_ADDRESS}\nsearch svc.{layout.DOMAIN}\n")
    (folder / "Corefile").write_text(_dns())
    (folder / "prometheus.yaml").write_text(_prometheus())
    (folder / "adapter.yaml").write_text((HERE / "adapter.yaml").read_text())


def _containerd() -> str:
    """For containerd 1.6 and 1.7: no AppArmor, and no lowering of OOM scores, which not every machine allows."""
    return f"""\
version = 2
root = "{layout.root()}/containerd"
state = "/run/containerd"

[grpc]
address = "{layout.CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
disable_apparmor = true
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{layout.root()}/conf/cni"
"""


def _pod_network() -> dict[str, object]:
    pods = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,  # a pod may reach itself through its Service
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": layout.POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/cni",
        },
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [pods]}


def _kubelet() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.certificate("server")),
        "tlsPrivateKeyFile": str(layout.key("server")),
        "containerRuntimeEndpoint": f"unix://{layout.CONTAINERD_SOCKET}",
        "resolvConf": str(layout.root() / "conf" / "resolv.conf"),
        "clusterDNS": [layout.NODE_ADDRESS],
        "clusterDomain": layout.DOMAIN,
        "podCIDR": layout.POD_NETWORK,
        "volumePluginDir": str(layout.root() / "volume-plugins"),
        # A machine with version 1 of cgroups and without systemd is good enough for a test.
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        # Images come by hand and cannot be fetched again: a full disk must not make the kubelet remove them.
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _dns() -> str:
    """The cluster's names, and no others: nothing here can ask the outside."""
    return f"""\
. {{
    bind {layout.NODE_ADDRESS}
    errors
    ready {layout.ADDRESSES["dns"]}
    kubernetes {layout.DOMAIN} {{
        kubeconfig {layout.kubeconfig()}
        ttl 5
    }}
}}
"""


def _prometheus() -> str:
    """prometheus.yaml of this folder, with paths and addresses filled in."""
    content = yaml.safe_load((HERE / "prometheus.yaml").read_text())
    content["rule_files"] = [f"{layout.root()}/conf/rules/*.yaml"]
    for job in content["scrape_configs"]:
        for discovery in job.get("kubernetes_sd_configs", []):
            discovery["kubeconfig_file"] = str(layout.kubeconfig())
    content["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [layout.ADDRESSES["alertmanager"]]}]}]}
    return yaml.safe_dump(content, sort_keys=False)
