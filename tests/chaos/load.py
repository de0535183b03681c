"""Steady load of real images, and what became of every request: at the client, and in the server's own metrics."""

import asyncio
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from loadtests.driver import Order, RunningClock, Target, drive_open
from loadtests.pictures import Picture, read_pictures
from loadtests.samples import Sample
from service.api.rest.errors import STATUS
from service.errors import ServiceError

CALLER_PATIENCE_S = 15.0


@dataclass(frozen=True)
class Steady:
    """So many requests a second for so long, every fifth of them corrupt where asked."""

    url: str
    per_s: float
    seconds: float
    corrupt_every: int = 0

    async def run(self) -> list[Sample]:
        pictures, target = read_pictures(None), Target(self.url, timeout_s=CALLER_PATIENCE_S)
        orders = []
        for index in range(round(self.per_s * self.seconds)):
            picture = pictures[index % len(pictures)]
            if self.corrupt_every and index % self.corrupt_every == 0:
                picture = corrupt(picture)
            orders.append(Order(picture, target, index / self.per_s))
        return await drive_open(orders, clock=RunningClock())


def corrupt(picture: Picture) -> Picture:
    """Its first bytes alone: the right kind, and no picture."""
    return Picture(f"corrupt {picture.name}", picture.content_type, picture.body[:60], None)


def outcome(sample: Sample) -> str:
    """The status, or how it failed without one: exactly one for each request."""
    return sample.reply.failure or str(sample.reply.status)


def outcomes(samples: list[Sample]) -> Counter[str]:
    return Counter(map(outcome, samples))


def p95_ms(samples: list[Sample], from_s: float, to_s: float) -> float:
    """Of those answered with 200 that were due in the window; 0 where there are too few."""
    taken = [s.latency_ms for s in samples if from_s <= s.due_s < to_s and s.is_ok]
    return statistics.quantiles(taken, n=20)[-1] if len(taken) > 1 else 0.0


def by_status(counted: Mapping[str, float]) -> Counter[str]:
    """The metrics' outcomes as the client sees them."""
    statuses = {"ok": "200", "cancelled": "left", "internal": "500"}
    statuses |= {leaf.code: str(int(status)) for leaf, status in STATUS.items() if issubclass(leaf, ServiceError)}
    result: Counter[str] = Counter()
    for name, count in counted.items():
        result["left" if statuses[name] == "499" else statuses[name]] += round(count)
    return +result


def unaccounted(client: Counter[str], server: Counter[str]) -> str:
    """
    What does not add up between the two, '' where everything does.

    Every answer at the client is one in the metrics; what the client never heard of (timeout, connection lost) may be
    anything there, or, where the server never had the whole request, nothing.
    """
    unheard = sum(client[kind] for kind in ("timeout", "connection lost", "no connection"))
    answered = {kind: count for kind, count in client.items() if kind.isdigit()}
    missing = {kind: count - server[kind] for kind, count in answered.items() if server[kind] < count}
    surplus = sum(server.values()) - sum(answered.values())
    if missing or not 0 <= surplus <= unheard:
        return f"client {dict(client)}, server {dict(server)}"
    return ""


async def settled() -> None:
    """Time for the last outcomes to be counted."""
    await asyncio.sleep(0.5)
