"""Pods under simulated traffic: what they answer, what they cost, and who decides how many there are."""

import numpy as np
import pytest

from deploy.simulate.autoscale import BUSY, INSIDE, QUEUED
from deploy.simulate.demand import Demand, arrivals_s, bursty, daily, steps
from deploy.simulate.events import Engine
from deploy.simulate.fleet import Fleet, Machine
from deploy.simulate.hpa import Policy, Rules, Spec
from deploy.simulate.knee import curve, knee_of
from deploy.simulate.scaling import Signal, queued_work_s, simulate

ONE_BY_ONE = Machine(Engine(0.0, 0.1), 1, 15.0, 5.0, cpu_request=2.0, engine_cpus=1.0, prepare_cpu_s=0.02)
IN_BATCHES = Machine(Engine(0.1, 0.0), 8, 15.0, 5.0, cpu_request=2.0, engine_cpus=1.0, prepare_cpu_s=0.02)


def test_one_by_one_each_waits_for_those_before() -> None:
    fleet = Fleet(ONE_BY_ONE, 1)
    fleet.run([0.0, 0.0, 0.05], 0.0, 5.0)
    assert list(fleet.answers.latencies_s) == pytest.approx([0.1, 0.2, 0.25])


def test_what_waits_runs_as_one_batch() -> None:
    fleet = Fleet(IN_BATCHES, 1)
    fleet.run([0.0, 0.02, 0.05], 0.0, 5.0)
    assert list(fleet.answers.latencies_s) == pytest.approx([0.1, 0.18, 0.15])


def test_what_has_waited_longer_than_its_caller_is_dropped() -> None:
    fleet = Fleet(ONE_BY_ONE, 1)
    fleet.run([0.0] * 100, 0.0, 100.0)
    assert len(fleet.answers.latencies_s) + len(fleet.answers.lost) == 100
    assert len(fleet.answers.lost) == 49  # the 51st starts after 5.0 s, the 52nd after 5.1


def test_a_new_pod_takes_nothing_before_it_is_ready_and_costs_from_the_start() -> None:
    fleet = Fleet(ONE_BY_ONE, 1)
    fleet.scale(2, 0.0)
    fleet.run([0.0, 0.0], 0.0, 5.0)
    assert [pod.images for pod in fleet.pods] == [2, 0]
    assert fleet.pod_s == 10.0
    fleet.run([15.0, 15.0], 15.0, 20.0)
    assert [pod.images for pod in fleet.pods] == [3, 1]


def test_a_pod_that_goes_finishes_what_it_has() -> None:
    fleet = Fleet(ONE_BY_ONE, 2)
    fleet.run([0.0] * 40, 0.0, 1.0)
    fleet.scale(1, 1.0)
    fleet.run([], 1.0, 10.0)
    assert len(fleet.answers.latencies_s) == 40


def test_a_scrape_sees_the_work_that_waits_and_the_images_inside() -> None:
    fleet = Fleet(ONE_BY_ONE, 1)
    fleet.run([0.0, 0.0, 0.0], 0.0, 0.05)
    (pod,) = fleet.pods
    pod.scrape(0.05)
    assert pod.samples[-1].queued_work_s == pytest.approx(0.25)
    assert pod.samples[-1].in_flight == 3
    assert pod.samples[-1].busy_s == pytest.approx(0.05)


def test_signals_of_one_pod_follow_queueing_theory() -> None:
    """M/D/1 at load r: work r s / (2 (1 - r)), images inside r + r^2 / (2 (1 - r)), busy r (Kleinrock 1975, 5.6)."""
    point = curve(ONE_BY_ONE, [QUEUED, INSIDE, BUSY])[0.7]
    assert point.signals["engine busy"] == pytest.approx(0.7, abs=0.02)
    assert point.signals["in flight"] == pytest.approx(0.7 + 0.49 / 0.6, rel=0.25)
    assert point.signals["queued work"] == pytest.approx(0.1 * 0.7 / 0.6, rel=0.25)


def test_the_knee_is_the_last_rate_before_p95_is_thrice_that_of_an_idle_pod() -> None:
    points = list(curve(ONE_BY_ONE, [QUEUED]).values())
    knee = knee_of(points)
    after = points[points.index(knee) + 1]
    assert knee.p95_s < 3 * points[0].p95_s <= after.p95_s


def test_arrivals_follow_the_rate() -> None:
    step = Demand("step", 2000.0, lambda now: 1.0 if now < 1000 else 3.0)
    arrivals = arrivals_s(step, 10.0)
    assert np.all(np.diff(arrivals) >= 0)
    assert np.count_nonzero(arrivals < 1000) == pytest.approx(10_000, rel=0.05)
    assert np.count_nonzero(arrivals >= 1000) == pytest.approx(30_000, rel=0.05)


@pytest.mark.parametrize("demand", [daily(), bursty(), steps()], ids=lambda demand: demand.name)
def test_the_loads_stay_within_one_and_seven_pods(demand: Demand) -> None:
    rates = [demand.rate_of(second) for second in np.arange(0, demand.seconds, 10.0)]
    assert min(rates) >= 0.69
    assert max(rates) == pytest.approx(7.0, abs=0.01)


def test_pods_come_with_the_load_and_go_after_it() -> None:
    short = Demand("step", 900.0, lambda now: 3.0 if 200 <= now < 500 else 0.3)
    spec = Spec(1, 10, Rules(0, (Policy("Percent", 100, 30),)), Rules(60, (Policy("Pods", 1, 60),)))
    outcome = simulate(short, ONE_BY_ONE, [Signal("queued", queued_work_s, 0.2)], spec, 1.0)
    assert outcome.pods[:40].max() <= 2
    assert outcome.pods.max() >= 4
    assert outcome.pods[-1] < outcome.pods.max()
    assert outcome.ready.max() == outcome.pods.max()
    assert outcome.pod_hours >= outcome.pods.mean() * 900 / 3600
