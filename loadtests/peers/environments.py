"""A virtual environment for each peer, made once from its pinned requirements; the project's own is never touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from loadtests.peers.catalogue import Peer

ROOT = Path(__file__).parents[2]
"""Of the project: what the peers' processes import."""
FOLDER = ROOT / ".peers"
REQUIREMENTS = Path(__file__).parent / "requirements"
REPORTED = ("onnxruntime", "numpy")
"""Versions worth knowing beside the peer's own."""
LINES_OF_ERROR = 3


class PeerUnavailable(Exception):
    """It could not be installed or started; says why."""


def ensure(peer: Peer) -> Path:
    """The python of the peer's environment, made if missing or out of date. Raises PeerUnavailable."""
    folder = FOLDER / peer.name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    wanted = "".join((REQUIREMENTS / f"{name}.txt").read_text() for name in ("common", peer.name))
    if python.exists() and installed.exists() and installed.read_text() == wanted:
        return python
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    _uv("venv", "--quiet", "--clear", "--python", own, str(folder))
    _uv("pip", "install", "--quiet", "--python", str(python), "-r", str(REQUIREMENTS / f"{peer.name}.txt"))
    installed.write_text(wanted)
    return python


def versions(peer: Peer) -> dict[str, str]:
    """What its environment holds: the peer itself and what it shares with the others."""
    code = "import importlib.metadata as m, sys; print('\\n'.join(f'{n}={m.version(n)}' for n in sys.argv[1:]))"
    command = [str(ensure(peer)), "-c", code, peer.distribution, *REPORTED]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def variables(peer: Peer, python: Path) -> dict[str, str]:
    """The environment its processes run with."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    path = f"{python.parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT)} | dict(peer.environment)


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    try:
        subprocess.run([uv, *arguments], check=True, stderr=subprocess.PIPE, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise PeerUnavailable("cannot be installed: " + " ".join(said.split("\n")[:LINES_OF_ERROR])) from error
