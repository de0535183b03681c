"""What the service costs on top of its engine, with the shipped models."""

from collections.abc import Sequence
from statistics import median
from urllib.request import urlopen

import orjson

from loadtests import plot
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.bench.inside import bare_engine
from loadtests.driver import Target
from loadtests.pictures import SHIPPED, Picture, read_pictures
from loadtests.run import drive
from loadtests.samples import Sample
from loadtests.scenarios import closed
from loadtests.serving import Service, serving

TITLE = "served: the service at saturation beside its bare engine, and what it adds for one client"
MODELS = ("nuclei", "blood-cells")
LEAST_RATIO, MOST_ADDED_MS = 0.95, 3.0
ENGINE_STAGES = ("decode", "detector", "mask_head")
ALONE = 20
"""Requests of the one client a round."""


def measure(plan: Plan) -> Result:
    """Both on the engine that auto chose; golden images without masks; service and bare engine take turns."""
    figures: list[Figure] = []
    notes: list[str] = []
    bars: list[tuple[str, float]] = []
    for model in MODELS:
        pictures = read_pictures(next((SHIPPED / model).glob("*/golden")))
        settings = {"bundles": SHIPPED / model, "max_batch_size": plan.max_batch_size, "default_timeout_ms": 120_000}
        with serving(settings) as service:
            engine = _engine(service)
            with bare_engine(str(SHIPPED / model), engine, plan.max_batch_size) as bare:
                rounds = [_round(plan, service, pictures, bare(plan.seconds)) for _ in range(plan.rounds)]
            figures += _figures(model, rounds)
            notes.append(f"{model}: {engine}; ready service holds {service.resident_mb():.0f} MB")
        bars += [(f"{model}, bare", median(r[0] for r in rounds)), (f"{model}, served", median(r[1] for r in rounds))]
    return Result(figures, notes, {"served": plot.bar_figure("images a second at saturation", bars, "images/s")})


def _round(
    plan: Plan, service: Service, pictures: Sequence[Picture], bare_per_s: float
) -> tuple[float, float, list[float]]:
    """Images a second bare and served, and the milliseconds one client waits for what is neither decode nor engine."""
    target = Target(service.url, timeout_s=120.0)
    count = 2 * plan.clients + max(plan.clients, round(bare_per_s * plan.seconds))
    served = _answers(drive(closed(target, pictures, count, plan.clients, plan.seed), lambda _: None))
    alone = _answers(drive(closed(target, pictures, ALONE, 1, plan.seed), lambda _: None))
    return bare_per_s, _steady_per_s(served, plan.clients), [_added_ms(sample) for sample in alone]


def _steady_per_s(samples: Sequence[Sample], clients: int) -> float:
    """Answers a second without the first and the last of each client: around those the engine is not full."""
    done_s = sorted(sample.done_s for sample in samples)
    return (len(done_s) - 2 * clients) / (done_s[-clients - 1] - done_s[clients - 1])


def _answers(samples: list[Sample]) -> list[Sample]:
    if failed := [sample.outcome for sample in samples if not sample.is_ok]:
        raise RuntimeError(f"{len(failed)} of {len(samples)} requests failed, the first with {failed[0]}")
    return samples


def _added_ms(sample: Sample) -> float:
    return sample.latency_ms - sum(sample.reply.timings_ms.get(stage, 0.0) for stage in ENGINE_STAGES)


def _figures(model: str, rounds: Sequence[tuple[float, float, list[float]]]) -> list[Figure]:
    shares = [served / bare for bare, served, _ in rounds]
    spread = f"({min(shares):.2f} to {max(shares):.2f})"
    added_ms = median(ms for _, _, alone in rounds for ms in alone)
    return [
        Figure(f"{model}: bare engine", median(bare for bare, _, _ in rounds), "images/s"),
        Figure(f"{model}: served / bare", median(shares), spread, at_least=LEAST_RATIO),
        Figure(f"{model}: one client waits beside decode and engine, p50", added_ms, "ms", at_most=MOST_ADDED_MS),
    ]


def _engine(service: Service) -> str:
    with urlopen(f"{service.url}/v1/models") as answer:  # nosec B310  # http, by us
        return str(orjson.loads(answer.read())["models"][0]["engine"])
