"""The arithmetic of a soak, on lines and answers of known shape."""

from collections.abc import Sequence

import pytest

from loadtests.driver import Target
from loadtests.pictures import read_pictures
from loadtests.samples import Reply, Sample
from loadtests.scenarios import steady
from loadtests.serving import Service
from loadtests.soak import MemoryLine, judge, slope_mb_per_hour, with_corrupt

HOUR_S = 3600.0


def line(resident_mb: Sequence[float]) -> MemoryLine:
    """Measured evenly over an hour."""
    step_s = HOUR_S / len(resident_mb)
    service = Service("", "", 0)
    return MemoryLine(service, [(index + 1) * step_s for index in range(len(resident_mb))], list(resident_mb))


def answers(latencies_ms: Sequence[float], kind: str = "whole", status: int = 200) -> list[Sample]:
    """Evenly over an hour."""
    step_s = HOUR_S / len(latencies_ms)
    return [
        Sample("a.png", index * step_s, index * step_s, index * step_s + latency_ms / 1e3, Reply(status), kind)
        for index, latency_ms in enumerate(latencies_ms)
    ]


def verdicts(samples: list[Sample], memory: MemoryLine) -> dict[str, bool | None]:
    return {figure.name: figure.is_met for figure in judge(samples, memory, HOUR_S).figures}


def test_a_leak_is_told_and_what_start_up_took_is_not() -> None:
    """Growth in the first tenth is warming up; later growth is a slope."""
    assert slope_mb_per_hour(line([100.0] * 9 + [150.0] * 91), HOUR_S) == pytest.approx(0, abs=1)
    assert slope_mb_per_hour(line([100.0 + index for index in range(100)]), HOUR_S) == pytest.approx(100, rel=0.01)


def test_a_flat_run_meets_every_target_and_a_slowing_one_does_not() -> None:
    """Memory and p95, each by itself."""
    flat, whole = line([100.0] * 100), answers([20.0] * 3000)
    corrupt = answers([5.0] * 300, "corrupt", 422)
    assert False not in verdicts(whole + corrupt, flat).values()
    slowing = answers([20.0 + index / 100 for index in range(3000)])
    assert verdicts(slowing + corrupt, flat)["p95, last third / first third"] is False
    growing = line([100.0 + index for index in range(100)])
    assert verdicts(whole + corrupt, growing)["resident memory, slope"] is False


def test_answers_that_should_be_others_are_counted() -> None:
    """A whole image refused, and a corrupt one that was answered as if it were whole."""
    found = verdicts(answers([20.0] * 100, status=429) + answers([20.0] * 10, "corrupt"), line([100.0] * 100))
    assert found["whole images not answered"] is False and found["corrupt images not told so"] is False


def test_a_fifth_of_the_images_is_cut_short() -> None:
    """The others are sent as they are."""
    traffic = with_corrupt(steady(Target("http://127.0.0.1"), read_pictures(None), 100, 30, seed=1), seed=1)
    whole = {picture.name: len(picture.body) for picture in read_pictures(None)}
    share = sum(order.kind == "corrupt" for order in traffic.orders) / len(traffic.orders)
    assert share == pytest.approx(0.2, abs=0.03)
    for order in traffic.orders:
        assert (len(order.picture.body) < whole[order.picture.name]) == (order.kind == "corrupt")
