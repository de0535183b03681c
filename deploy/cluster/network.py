"""The node's network: loopback and one bridge with its address, in a network namespace that leads nowhere else."""

import subprocess
from pathlib import Path

from deploy.cluster import layout

_COMMANDS = (
    "ip link set lo up",
    "ip link add node0 type bridge",
    f"ip address add {layout.NODE_NETWORK} dev node0",
    "ip link set node0 up",
    # The apiserver takes its address from the default route; nothing answers at its other end.
    "ip route add default dev node0",
)


def make_network() -> None:
    """In the namespace this process is in. Raises CalledProcessError."""
    for command in _COMMANDS:
        subprocess.run(command.split(), check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
