"""What it costs to be watched: everything that can be observed switched on, beside all of it switched off."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from urllib.request import urlopen

from matplotlib.figure import Figure as Plot

from loadtests import plot
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.driver import Target
from loadtests.pictures import SHIPPED, Picture, read_pictures
from loadtests.run import drive
from loadtests.scenarios import closed
from loadtests.serving import Service, serving, serving_nothing

TITLE = "telemetry: traces, drift, samples and Triton's names on, beside all of them off"
MODEL, CLIENTS = "blood-cells", 8
LEAST_RATIO = 0.98
OFF: Mapping[str, object] = {"drift_images_per_s": 0}
"""The metrics themselves, a scrape a run and the log line of each request are on in both: a service has them."""


@dataclass(frozen=True)
class _Run:
    images_per_s: float
    cpu_s_per_image: float


def measure(plan: Plan) -> Result:
    """The shipped model at saturation on the engine auto chose. Both services stay up and take turns."""
    pictures = read_pictures(next((SHIPPED / MODEL).glob("*/golden")))
    usual = {"bundles": SHIPPED / MODEL, "default_timeout_ms": 120_000}
    with serving_nothing() as receiver, tempfile.TemporaryDirectory(prefix="rcnn-samples-") as samples:
        watched = {**usual, **_everything(receiver, samples)}
        with serving({**usual, **OFF}) as plain, serving(watched) as seen:
            services = (plain, seen)
            requests = round(plan.seconds * _run(plan, plain, pictures, 4 * CLIENTS).images_per_s)
            _run(plan, seen, pictures, 4 * CLIENTS)
            pairs = []
            for turn in range(plan.rounds):
                order = services if turn % 2 == 0 else services[::-1]
                runs = {service.pid: _run(plan, service, pictures, requests) for service in order}
                pairs.append((runs[plain.pid], runs[seen.pid]))
    return Result(_figures(pairs), [], {"telemetry": _bars(pairs)})


def _everything(receiver: str, samples: str) -> dict[str, object]:
    """Every request traced; drift and samples at the rates they have when switched on."""
    return {
        "traces_url": f"{receiver}/v1/traces",
        "trace_sample_ratio": 1.0,
        "drift_images_per_s": 1.0,
        "samples_url": samples,
        "samples_unencrypted": True,
        "triton_metric_names": True,
    }


def _run(plan: Plan, service: Service, pictures: list[Picture], requests: int) -> _Run:
    """requests from CLIENTS callers, then one scrape, as there is one in fifteen seconds."""
    cpu_s = service.cpu_s()
    samples = drive(
        closed(Target(service.url, timeout_s=120.0), pictures, requests, CLIENTS, plan.seed), lambda _: None
    )
    urlopen(service.metrics_url, timeout=60).read()
    if failed := [sample.outcome for sample in samples if not sample.is_ok]:
        raise RuntimeError(f"{len(failed)} of {len(samples)} requests failed, the first with {failed[0]}")
    lasted_s = max(sample.done_s for sample in samples) - min(sample.sent_s for sample in samples)
    return _Run(len(samples) / lasted_s, (service.cpu_s() - cpu_s) / len(samples))


def _figures(pairs: list[tuple[_Run, _Run]]) -> list[Figure]:
    ratios = sorted(seen.images_per_s / plain.images_per_s for plain, seen in pairs)
    cpu = median(seen.cpu_s_per_image / plain.cpu_s_per_image for plain, seen in pairs)
    return [
        Figure("images a second, off", median(plain.images_per_s for plain, _ in pairs), "images/s"),
        Figure("images a second, on", median(seen.images_per_s for _, seen in pairs), "images/s"),
        Figure("on / off", median(ratios), at_least=LEAST_RATIO),
        Figure("on / off, least of the rounds", ratios[0]),
        Figure("on / off, most of the rounds", ratios[-1]),
        Figure("processor time an image, on / off", cpu),
    ]


def _bars(pairs: list[tuple[_Run, _Run]]) -> Plot:
    plain, seen = (median(run.images_per_s for run in runs) for runs in zip(*pairs, strict=True))
    return plot.bar_figure("images a second at saturation", [("off", plain), ("on", seen)], "images/s")
