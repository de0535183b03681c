"""A network of its own between client and server, whose cable can be pulled. Needs root and iproute2."""

import os
import subprocess

_CLIENT, _SERVER, _BITS = "10.213.77.1", "10.213.77.2", 30
_NOBODY = "02:00:00:00:00:01"


class Cable:
    """A network namespace for a server, reached by one link and by nothing else."""

    def __init__(self) -> None:
        self._namespace, self._ours, self._theirs = (f"{name}{os.getpid()}" for name in ("rcnn", "rca", "rcb"))
        self.server_host = _SERVER
        self.prefix = ("ip", "netns", "exec", self._namespace)

    def __enter__(self) -> "Cable":
        _ip("netns", "add", self._namespace)
        _ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs, "netns", self._namespace)
        _ip("address", "add", f"{_CLIENT}/{_BITS}", "dev", self._ours)
        _ip("link", "set", self._ours, "up")
        _ip("-n", self._namespace, "address", "add", f"{_SERVER}/{_BITS}", "dev", self._theirs)
        self.plug()
        return self

    def __exit__(self, *_: object) -> None:
        _ip("link", "delete", self._ours)
        _ip("netns", "delete", self._namespace)

    def plug(self) -> None:
        _ip("-n", self._namespace, "link", "set", self._theirs, "up")

    def lose(self) -> None:
        """Packets of both ends vanish at once: to an address nobody has. The link stays up, unlike after `pull`."""
        for ends, device, to in self._ends():
            _ip(*ends, "neighbour", "replace", to, "lladdr", _NOBODY, "dev", device, "nud", "permanent")

    def find(self) -> None:
        """Packets arrive again."""
        for ends, device, to in self._ends():
            _ip(*ends, "neighbour", "delete", to, "dev", device)

    def _ends(self) -> tuple[tuple[tuple[str, ...], str, str], ...]:
        """Of each end: where `ip` finds it, its device, and whom it talks to."""
        return ((), self._ours, _SERVER), (("-n", self._namespace), self._theirs, _CLIENT)

    def pull(self) -> None:
        """At the server's end: packets vanish, and nobody is told."""
        _ip("-n", self._namespace, "link", "set", self._theirs, "down")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
