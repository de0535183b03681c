"""The faults, each really caused, on a server (or two behind a proxy) under steady load."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from service.bundle import write_bundle
from tests.chaos.network import Cable
from tests.chaos.server import Server
from tests.conftest import MANIFEST, encode_picture

DETECT = b"POST /v1/detect HTTP/1.1\r\nHost: me\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n"


@dataclass
class Scene:
    """What a fault may touch."""

    servers: list[Server]
    folder: Path
    notes: list[str] = field(default_factory=list)
    cable: Cable | None = None
    beside: Counter[str] = field(default_factory=Counter)  # outcomes in the metrics of requests that are not the load's

    @property
    def server(self) -> Server:
        return self.servers[0]

    @property
    def fault_file(self) -> Path:
        return self.folder / "fault"

    @property
    def clock_file(self) -> Path:
        return self.folder / "clock"


Inject = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """inject causes it, and returns when it is over; it may take lasts_s. may_fail: what it excuses beside 200."""

    name: str
    inject: Inject
    lasts_s: float
    may_fail: frozenset[str] = frozenset()
    replicas: int = 1
    corrupt_every: int = 0
    clock_from_file: bool = False  # the server's wall clock can be set
    over_cable: bool = False  # the server is in a network of its own
    dies: bool = False  # a replica's metrics die with it: only the client's side is accounted


async def nothing(scene: Scene) -> None:
    await asyncio.sleep(3)


async def kill(scene: Scene) -> None:
    """kill -9 of one of two replicas, three times; it comes back."""
    for turn in range(3):
        server = scene.servers[turn % 2]
        server.send(signal.SIGKILL)
        server.wait()
        await asyncio.to_thread(server.start)
        await asyncio.sleep(0.5)


async def rolling(scene: Scene) -> None:
    """20 restarts, one replica after the other, each by SIGTERM."""
    codes = []
    for turn in range(20):
        server = scene.servers[turn % 2]
        server.send(signal.SIGTERM)
        codes.append(await asyncio.to_thread(server.wait))
        await asyncio.to_thread(server.start)
    scene.notes.append(f"exit codes {sorted(set(codes))}")


async def freeze(scene: Scene) -> None:
    """SIGSTOP for five seconds."""
    scene.server.send(signal.SIGSTOP)
    await asyncio.sleep(5)
    scene.server.send(signal.SIGCONT)


async def slow_and_half_open(scene: Scene) -> None:
    """60 clients that trickle a body, 60 that trickle a head, 60 that send half a body and vanish."""

    async def one(first: bytes, vanishes: bool) -> None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(scene.server.host, scene.server.port)
            writer.write(first)
            for _ in range(1 if vanishes else 40):
                await writer.drain()
                await asyncio.sleep(0.1)
                writer.write(b"x")
            writer.transport.abort()

    kinds = [(DETECT, False), (DETECT[:40], False), (DETECT + bytes(50_000), True)]
    await asyncio.gather(*(one(*kinds[index % 3]) for index in range(180)))
    scene.beside["left"] += 120


async def flood(scene: Scene) -> None:
    """Three times 1 500 connections that say nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))

    async def one() -> None:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(scene.server.host, scene.server.port), timeout=3
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), timeout=1)
            writer.transport.abort()

    for _ in range(3):
        await asyncio.gather(*(one() for _ in range(1_500)))


async def swaps(scene: Scene, count: int = 100) -> None:
    """100 hot swaps between two versions, and every tenth a version that does not hold."""
    async with httpx.AsyncClient(base_url=scene.server.url, timeout=30) as client:
        statuses, resident = [], []
        for turn in range(count):
            version = "broken" if turn % 10 == 9 else str(1 + turn % 2)
            load = await client.post("/v2/repository/models/toy/load", json={"parameters": {"version": version}})
            statuses.append(load.status_code)
            resident.append(scene.server.resident_mb())
    refused = sum(status != 200 for status in statuses)
    quarter = max(1, count // 4)
    early, late = (sum(part) / len(part) for part in (resident[quarter : 2 * quarter], resident[-quarter:]))
    scene.notes.append(
        f"{count - refused} swapped in, {refused} bad ones refused; "
        f"RSS {early:.1f} MB in the second quarter, {late:.1f} MB in the last"
    )


async def raising(scene: Scene) -> None:
    await _engine(scene, "raise", 2)


async def hanging(scene: Scene) -> None:
    await _engine(scene, "hang", 4)


async def short_of_memory(scene: Scene) -> None:
    await _engine(scene, "memory 1", 4)


async def _engine(scene: Scene, fault: str, seconds: float) -> None:
    scene.fault_file.write_text(fault)
    await asyncio.sleep(seconds)
    scene.fault_file.write_text("")


async def address_space(scene: Scene) -> None:
    """RLIMIT_AS just above what is in use, and images of 40 megapixels beside the load."""
    assert scene.server.process is not None
    pid = scene.server.process.pid
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.prlimit(pid, resource.RLIMIT_AS, (used + 60_000_000, resource.RLIM_INFINITY))
    large = await asyncio.to_thread(encode_picture, 8_000, 5_000)
    async with httpx.AsyncClient(base_url=scene.server.url, timeout=30) as client:
        statuses = [str((await client.post("/v1/detect", content=large)).status_code) for _ in range(5)]
    scene.beside.update(statuses)
    resource.prlimit(pid, resource.RLIMIT_AS, before)
    scene.notes.append(f"five images of 40 megapixels: {', '.join(statuses)}")


async def clock_jumps(scene: Scene) -> None:
    """The wall clock goes forward two hours, back a day, and is right again, two seconds each."""
    for offset_s in (7_200, -86_400, 0):
        scene.clock_file.write_text(str(offset_s))
        await asyncio.sleep(2)
    lines = (scene.folder / "0.log").read_text().splitlines()
    stamps = [datetime.fromisoformat(json.loads(line)["timestamp"]) for line in lines]
    span_h = (max(stamps) - min(stamps)).total_seconds() / 3600
    scene.notes.append(f"the log's stamps are up to {span_h:.0f} hours apart")


async def cut(scene: Scene) -> None:
    """The cable out for three seconds."""
    assert scene.cable is not None
    await asyncio.to_thread(scene.cable.pull)
    await asyncio.sleep(3.0)
    await asyncio.to_thread(scene.cable.plug)


async def lossy(scene: Scene) -> None:
    """A tenth of all packets lost, in bursts of 50 ms, for five seconds."""
    assert scene.cable is not None
    for _ in range(10):
        await asyncio.to_thread(scene.cable.lose)
        await asyncio.sleep(0.05)
        await asyncio.to_thread(scene.cable.find)
        await asyncio.sleep(0.45)


async def full_disk(scene: Scene) -> None:
    """The engine's cache on a file system of 64 kB that is full, and a real model that is started on it."""
    folder = scene.folder / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        with contextlib.suppress(OSError):
            (folder / "filler").write_bytes(bytes(1_000_000))
        log = scene.folder / "full.log"
        beside = Server({"engine": "openvino", "engine_cache": folder, "engine_threads": 1}, log)
        await asyncio.to_thread(beside.start)
        image = encode_picture(200, 200)
        async with httpx.AsyncClient(base_url=beside.url, timeout=60) as client:
            answer = await client.post("/v1/detect", content=image)
        await asyncio.to_thread(beside.stop)
        said = sum("cannot be written" in line for line in log.read_text().splitlines())
        scene.notes.append(f"starts, answers {answer.status_code}, says {said} times that the cache cannot be written")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def versions_of_toy(folder: Path) -> Path:
    """toy in versions 1 and 2, and `broken` with a file that is not what its manifest says."""
    for version in ("1", "2", "broken"):
        bundle = folder / "toy" / version
        bundle.mkdir(parents=True)
        for name in ("detector.onnx", "mask_head.onnx"):
            (bundle / name).write_bytes(b"the fake engine needs no model")
        write_bundle(bundle, MANIFEST | {"version": version})
    (folder / "toy" / "broken" / "detector.onnx").write_bytes(b"changed")
    return folder / "toy" / "1"


_UNREACHED = frozenset({"no connection", "connection lost"})  # no service can answer who does not reach it
FAULTS = (
    Fault("nothing", nothing, 3),
    Fault("kill -9, two replicas", kill, 30, replicas=2, dies=True),
    Fault("20 rolling restarts, two replicas", rolling, 110, replicas=2, dies=True),
    Fault("SIGSTOP for 5 s", freeze, 6),
    Fault("slow and half-open clients", slow_and_half_open, 8),
    Fault("4 500 silent connections", flood, 15, frozenset({"429"})),
    Fault("a fifth of the images corrupt", nothing, 3, frozenset({"422"}), corrupt_every=5),
    Fault("100 hot swaps", swaps, 25),
    Fault("engine raises for 2 s", raising, 5, frozenset({"500", "503"})),
    Fault("engine hangs for 4 s", hanging, 8, frozenset({"503", "504"})),
    Fault("engine short of memory", short_of_memory, 5),
    Fault("address space all but used up", address_space, 15, frozenset({"429"})),
    Fault("disk full", full_disk, 60),
    Fault("the wall clock jumps: 2 h forward, a day back", clock_jumps, 8, clock_from_file=True),
    Fault("network cut for 3 s", cut, 8, _UNREACHED, over_cable=True),
    Fault("a tenth of all packets lost for 5 s", lossy, 8, _UNREACHED, over_cable=True),
)
