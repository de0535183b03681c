"""Images come to the node as archives: there is no registry."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

from deploy.cluster import layout
from deploy.cluster.pins import binary

PAUSE = "localhost/pause:1"


class NotLoaded(Exception):
    """containerd's own words about an archive it did not take."""


def load(archive: Path) -> list[str]:
    """
    Import an archive (oci-archive or docker-archive); the names under which pods can use it. Runs on the node.

    Beside its own name each image gets the one with its digest, repository@sha256:..., as if it had been pulled.
    Raises NotLoaded.
    """
    before = names()
    _ctr("import", str(archive))
    after = names()
    loaded = [name for name, digest in after.items() if before.get(name) != digest and "@" not in name]
    by_digest = [f"{name.rpartition(':')[0]}@{after[name]}" for name in loaded]
    for name, same in zip(loaded, by_digest, strict=True):
        _ctr("tag", "--force", name, same)
    return loaded + by_digest


def names() -> dict[str, str]:
    """{name: digest} of the images on the node."""
    rows = [line.split() for line in _ctr("list").splitlines()[1:]]
    return {row[0]: row[2] for row in rows if "@" not in row[0] and not row[0].startswith("sha256:")}


def load_pause() -> None:
    archive = layout.root() / "pause.tar"
    pack(binary("pause"), PAUSE, archive)
    load(archive)


def pack(program: Path, name: str, archive: Path) -> None:
    """Write a docker-archive with one static program and nothing else, which runs as nobody."""
    layer = _tar({program.name: program.read_bytes()})
    entry = {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"}
    unpacked = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = {"architecture": _architecture(), "os": "linux", "config": entry}
    config["rootfs"] = {"type": "layers", "diff_ids": [unpacked]}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"layer.tar": layer, "config.json": json.dumps(config).encode()}
    archive.write_bytes(_tar({**files, "manifest.json": json.dumps(manifest).encode()}))


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _tar(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _ctr(*arguments: str) -> str:
    command = ["ctr", "--address", layout.CONTAINERD_SOCKET, "--namespace", "k8s.io", "images", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotLoaded(done.stderr.strip())
    return done.stdout
