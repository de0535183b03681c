"""The traffic, and what came of it."""

import random
from dataclasses import dataclass

from deploy.simulate.events import Engine, Request, Server, Simulation


@dataclass(frozen=True)
class Result:
    """Rates are per second of simulated time; latencies seconds, of the answers."""

    offered_hz: float
    answered_hz: float
    p50_s: float
    p95_s: float
    mean_batch: float
    refused: int
    expired: int


def poisson(rate_hz: float, canvases: int, seconds: float, timeout_s: float, seed: int = 0) -> list[Request]:
    """Callers that arrive independently of each other and of the answers, each with one of so many canvases."""
    chance, now, requests = random.Random(seed), 0.0, []
    while (now := now + chance.expovariate(rate_hz)) < seconds:
        requests.append(Request(now, chance.randrange(canvases), now + timeout_s))
    return requests


def open_loop(
    server: Server, engine: Engine, requests: list[Request], seconds: float, places: int | None = None
) -> Result:
    """Run requests; the first tenth of the time is left out, so that what is learned has been learned."""
    Simulation(server, engine, places=places).run(requests)
    return summarise([request for request in requests if request.arrives >= seconds / 10], seconds * 0.9)


def closed_loop(server: Server, engine: Engine, canvases: int, clients: int, seconds: float) -> Result:
    """So many callers, each asking again as soon as it is answered."""
    chance = random.Random(0)
    requests = [Request(0.0, chance.randrange(canvases), float("inf")) for _ in range(clients)]

    def ask_again(_: Request, now: float) -> list[Request]:
        requests.append(Request(now, chance.randrange(canvases), float("inf")))
        return requests[-1:]

    Simulation(server, engine, ask_again).run(list(requests), until=seconds)
    counted = [request for request in requests if request.outcome and request.arrives >= seconds / 10]
    return summarise(counted, seconds * 0.9)


def summarise(requests: list[Request], seconds: float) -> Result:
    """The measures of requests that arrived within seconds."""
    answered = [request for request in requests if request.outcome == "answered"]
    latencies_s = sorted(request.ended - request.arrives for request in answered) or [float("nan")]
    batches = sum(1 / request.batch_size for request in answered) or 1.0
    return Result(
        offered_hz=len(requests) / seconds,
        answered_hz=len(answered) / seconds,
        p50_s=latencies_s[len(latencies_s) // 2],
        p95_s=latencies_s[int(len(latencies_s) * 0.95)],
        mean_batch=len(answered) / batches,
        refused=sum(request.outcome == "refused" for request in requests),
        expired=sum(request.outcome == "expired" for request in requests),
    )
