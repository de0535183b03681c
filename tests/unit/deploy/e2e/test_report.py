"""What the story tells of a candidate."""

from deploy.e2e.report import weighed_s
from deploy.e2e.timeline import Sample


def sample(at: float, weight: int) -> Sample:
    return Sample(at, weight, "moving", {})


def test_a_weight_lasts_until_the_first_sample_without() -> None:
    assert weighed_s([sample(0, 0), sample(1, 5), sample(4, 25), sample(6, 0), sample(9, 0)]) == 5.0


def test_a_weight_that_is_there_at_the_end_lasted_until_then() -> None:
    assert weighed_s([sample(0, 5), sample(3, 5)]) == 3.0


def test_without_a_weight_it_lasted_no_time() -> None:
    assert weighed_s([sample(0, 0), sample(3, 0)]) == 0.0
