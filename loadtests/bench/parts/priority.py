"""Callers with high priority under an overload of normal ones."""

from dataclasses import replace

from loadtests.bench.beside_a_flood import Kinds, compare
from loadtests.bench.figures import Plan, Result
from loadtests.bench.parts.overload import DEADLINE_MS, ENGINE_DELAY_MS
from loadtests.driver import Target
from loadtests.serving import serving

TITLE = "priority: high-priority callers under an overload of normal ones"
HIGH_SHARE = 0.2
"""Of the capacity: what the high-priority callers ask for. The engine is then seldom idle even without the others, so a
batch that is running when a request comes, which nothing can interrupt, is part of both p95."""
HEADER = ("X-Request-Priority", "high")


def measure(plan: Plan) -> Result:
    """The same high-priority traffic alone and under three times the capacity of normal traffic, taking turns."""
    plan = replace(plan, engine_delay_ms=ENGINE_DELAY_MS)
    with serving(plan.service()) as service:
        normal = Target(service.url, deadline_ms=DEADLINE_MS)
        high = replace(normal, headers=(HEADER,))
        return compare(plan, Kinds("high-priority", high, normal, HIGH_SHARE), "priority")
