"""
Builds pinned Go modules whose go.mod has replacements, which `go install module@version` refuses.

For each a small module of our own is made, with the requirements, replacements and checksums of theirs: the versions
are the ones they released with.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.cluster.pins import Pin, cache, read_pins

BARE = ("pause", "etcd", "kubernetes", "coredns", "gateway-api", "prometheus-operator")
"""What pods need to run, and definitions that cost no build."""


class BuildFailed(Exception):
    """What could not be built, and where Go's own words are."""


def build(names: Sequence[str] | None = None) -> None:
    """Build what is not there yet: the parts named, or all that are not optional. Raises BuildFailed."""
    pins = read_pins()
    names = [pin.name for pin in pins.values() if not pin.optional] if names is None else names
    unknown = [name for name in names if name not in pins]
    if unknown:
        raise BuildFailed(f"{unknown[0]} is no part of the cluster; the parts are {', '.join(pins)}")
    missing = [pins[name] for name in names if not pins[name].built]
    if missing and not shutil.which("go"):
        raise BuildFailed(f"{missing[0].name} is built from source and needs Go 1.26 or newer, which is not on PATH")
    for pin in missing:
        with being_built(pin):
            if not pin.built:
                build_and_tell(pin)


@contextmanager
def being_built(pin: Pin) -> Iterator[None]:
    """By one process at a time: two checkouts share the cache."""
    pin.folder.mkdir(parents=True, exist_ok=True)
    with (pin.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_and_tell(pin: Pin) -> None:
    started_s = time.monotonic()
    print(f"building {pin.name} {pin.version}", flush=True)
    build_part(pin)
    print(f"built    {pin.name} {pin.version} in {time.monotonic() - started_s:.0f} s", flush=True)


def build_part(pin: Pin) -> None:
    """Into pin.folder, which is marked complete last. Raises BuildFailed."""
    with tempfile.TemporaryDirectory(prefix="rcnn-e2e-") as temporary:
        work = Path(temporary)
        if pin.local:
            shutil.copyfile(Path(__file__).parent / pin.local, work / "main.go")
            (work / "go.mod").write_text(f"module rcnn.cluster/{pin.name}\n")
        else:
            fetch_module(pin, work)
        for name, package in pin.binaries.items():
            target = "/".join(part for part in (pin.module or ".", package) if part)
            flags = ["-mod=mod", "-trimpath", f"-ldflags={linker_flags(pin)}", f"-o={pin.folder / name}"]
            flags += [f"-tags={','.join(pin.tags)}"]
            go(pin, work, "build", *flags, target)
    (pin.folder / "complete").touch()


def fetch_module(pin: Pin, work: Path) -> None:
    """Its source into Go's own cache, a go.mod that builds it into `work`, the files it keeps into pin.folder."""
    answer = json.loads(go(pin, work, "mod", "download", "-json", f"{pin.module}@{pin.version}"))
    source = Path(answer["Dir"])
    if pin.binaries:
        adopt_requirements(pin, source, work)
    for kept in pin.files:
        keep(source / kept, pin.folder / "files")


def adopt_requirements(pin: Pin, source: Path, work: Path) -> None:
    """A go.mod of our own in `work` that resolves to what the module itself resolves to."""
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(source / name, work / name)
    edits = [f"-module=rcnn.cluster/{pin.name}", f"-require={pin.module}@{pin.version}"]
    described = json.loads(go(pin, work, "mod", "edit", "-json"))
    for replaced in described.get("Replace") or []:
        if replaced["New"]["Path"].startswith(
            "."
        ):  # a folder of their repository, which the module's archive leaves out
            old = replaced["Old"]["Path"]
            edits += [f"-dropreplace={old}"]
            edits += [f"-replace={old}={old}@{pin.staging}"] if pin.staging else []
    go(pin, work, "mod", "edit", *edits)


def linker_flags(pin: Pin) -> str:
    filled = [stamp.format(version=pin.version, minor=pin.version.split(".")[1]) for stamp in pin.stamps]
    return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in filled)])


def keep(source: Path, folder: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(source, folder / source.name)


def go(pin: Pin, work: Path, *arguments: str) -> str:
    """What go prints. Everything is static, so that a binary runs wherever its kernel does. Raises BuildFailed."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(["go", *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        log = cache() / f"{pin.name}-{pin.version}.log"
        log.write_text(done.stdout + done.stderr)
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise BuildFailed(f"{pin.name} {pin.version} could not be built: {' '.join(last)} (all of it: {log})")
    return done.stdout
