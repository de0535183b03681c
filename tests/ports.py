"""Ports of loopback for servers that have to be told one, and for those that must not be there."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_LEAST, _MOST = 10_000, 32_000  # below those the system deals out: a released one of its own soon is somebody else's


def free_port() -> int:
    """One that was free a moment ago, and that nobody is given by chance."""
    for port in random.SystemRandom().sample(range(_LEAST, _MOST), 1_000):
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


@contextmanager
def nobody() -> Iterator[str]:
    """An address that refuses connections: its port is held, and not listened on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
