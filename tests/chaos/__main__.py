"""
Faults under steady load, one after the other, and an outcome table: `make chaos`, or python -m tests.chaos [NAME...].

Exit 1 where a request ended otherwise than its fault excuses, or where client and metrics do not tell the same.
"""

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.clock import clock_from
from tests.chaos.faults import FAULTS, Fault, Scene, versions_of_toy
from tests.chaos.load import Steady, by_status, outcomes, p95_ms, settled, unaccounted
from tests.chaos.network import Cable
from tests.chaos.proxy import Proxy
from tests.chaos.server import Server

PER_S, AROUND_S = 20.0, 5.0
ENGINE_DELAY_MS = 20


@dataclass(frozen=True)
class Row:
    """A fault and what came of it."""

    fault: str
    outcomes: dict[str, int]
    wrong: str  # '' where everything is as it should be
    p95_before_ms: float
    p95_after_ms: float
    notes: str

    def __str__(self) -> str:
        counts = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.outcomes.items()))
        p95 = f"{self.p95_before_ms:.0f} -> {self.p95_after_ms:.0f}"
        return f"| {self.fault} | {counts} | {self.wrong or 'closes'} | {p95} | {self.notes} |"


async def play(fault: Fault, folder: Path) -> Row:
    """Steady load before, during and after; the fault in the middle."""
    bundle = versions_of_toy(folder / "models")
    settings = {
        "engine": "fake",
        "bundles": bundle,
        "model_repository": folder / "models",
        "fake_engine_delay_ms": ENGINE_DELAY_MS,
        "fake_engine_fault_file": folder / "fault",
        "engine_hang_s": 2,
        "header_timeout_ms": 2_000,
    }
    async with AsyncExitStack() as stack:
        cable = stack.enter_context(Cable()) if fault.over_cable else None
        host, prefix = (cable.server_host, cable.prefix) if cable else ("127.0.0.1", ())
        scene = Scene([], folder, cable=cable)
        clock = clock_from(scene.clock_file) if fault.clock_from_file else {}
        scene.servers += [Server(settings, folder / f"{i}.log", host, prefix, clock) for i in range(fault.replicas)]
        for server in scene.servers:
            stack.callback(server.stop)
            await asyncio.to_thread(server.start)
        proxy = Proxy([(server.host, server.port) for server in scene.servers])
        url = await stack.enter_async_context(proxy) if fault.replicas > 1 else scene.server.url
        return await _under_load(fault, scene, url)


async def _under_load(fault: Fault, scene: Scene, url: str) -> Row:
    total_s = 2 * AROUND_S + fault.lasts_s
    load = asyncio.create_task(Steady(url, PER_S, total_s, fault.corrupt_every).run())
    await asyncio.sleep(AROUND_S)
    await fault.inject(scene)
    samples = await load
    await settled()
    client = outcomes(samples)
    wrong = [f"{count} x {kind}" for kind, count in client.items() if kind not in fault.may_fail | {"200"}]
    if not fault.dies:
        wrong.append(unaccounted(client, by_status(scene.server.requests_by_outcome()) - scene.beside))
    before, after = p95_ms(samples, 1, AROUND_S), p95_ms(samples, total_s - AROUND_S + 1, total_s)
    return Row(fault.name, dict(client), "; ".join(filter(None, wrong)), before, after, "; ".join(scene.notes))


def main(names: list[str]) -> int:
    """Play the faults whose name holds one of names, or all."""
    rows = []
    print("| fault | outcomes at the client | accounting with the metrics | p95 before -> after, ms | beside |")
    print("|---|---|---|---|---|", flush=True)
    for fault in FAULTS:
        if not names or any(name in fault.name for name in names):
            with tempfile.TemporaryDirectory(prefix="rcnn-chaos-") as folder:
                rows.append(asyncio.run(play(fault, Path(folder))))
            print(rows[-1], flush=True)
    return int(any(row.wrong for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
