"""Which exchanges are chosen, and that no flood of them gets more than the budget."""

import numpy as np
import pytest

from service.detections import Answer, Detections, DetectOptions, ModelId, Timings
from service.sampling.choosing import REASONS, Budget, Plan, Reason, reasons_of

OWN = DetectOptions()
PLAN = Plan(per_minute=10, random_share=0.1, near_threshold=0.05)


def answer(*scores: float) -> Answer:
    boxes = np.tile(np.array([0, 0, 4, 4], np.float32), (len(scores), 1))
    labels = ("thing",) * len(scores)
    found = Detections((10, 10), boxes, np.array(scores, np.float32), np.ones(len(scores), np.int64), labels)
    return Answer(ModelId("toy", "1", "sha256:0"), found, Timings({}, 0.01))


def reasons(
    scores: tuple[float, ...], options: DetectOptions = OWN, *, drifted: bool = False, draw: float = 0.5
) -> list:
    return reasons_of(PLAN, options, 0.5, answer(*scores), drifted, lambda: draw)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((), ["nothing_found"]), ((0.9, 0.52), ["near_threshold"]), ((0.9, 0.56), []), ((0.9,), [])],
)
def test_an_answer_is_worth_a_look_if_it_is_empty_or_only_just_there(
    scores: tuple[float, ...], expected: list[Reason]
) -> None:
    assert reasons(scores) == expected


def test_an_answer_to_thresholds_of_the_caller_is_not_doubtful_for_being_empty() -> None:
    """Else a caller who asks for nothing but certain objects would fill the store."""
    assert reasons((), DetectOptions(score_threshold=0.99)) == []
    assert reasons((), DetectOptions(classes=("other",))) == []
    assert reasons((), DetectOptions(masks="rle")) == ["nothing_found"]


def test_any_answer_may_be_drawn_and_the_rarest_reason_comes_first() -> None:
    assert reasons((0.9,), draw=0.09) == ["random"]
    assert reasons((), drifted=True, draw=0.0) == ["drifted", "nothing_found", "random"]
    positions = [REASONS.index(reason) for reason in reasons((), drifted=True, draw=0.0)]
    assert positions == sorted(positions)


@pytest.mark.parametrize("per_minute", [1, 3, 10, 60])
def test_a_flood_gets_no_more_than_the_budget_in_any_minute(per_minute: int) -> None:
    budget, generator = Budget(per_minute), np.random.default_rng(3)
    taken_s = []
    for now_s in np.sort(generator.uniform(0, 600, 20_000)).tolist():
        wanted = [REASONS[i] for i in np.sort(generator.choice(5, generator.integers(1, 6), replace=False))]
        if budget.take(wanted, now_s):
            taken_s.append(now_s)
    in_a_minute = [sum(1 for other in taken_s if start <= other < start + 60) for start in taken_s]
    assert max(in_a_minute) == per_minute  # never above, and not below it either: there is always more than enough


def test_a_common_reason_does_not_crowd_out_a_rare_one() -> None:
    budget = Budget(10)
    common = [budget.take(["nothing_found"], now_s) for now_s in np.linspace(0, 50, 500).tolist()]
    assert common.count("nothing_found") == 2
    assert budget.take(["disagreement", "nothing_found"], 51.0) == "disagreement"
    assert budget.take(["nothing_found", "random"], 52.0) == "random"
    assert budget.take(["nothing_found"], 60.0) == "nothing_found"


def test_with_something_to_blur_only_answers_that_name_all_of_it_may_be_shown() -> None:
    """A caller who asked for other classes, or for certain objects only, was not told where the rest is."""
    blurring = Plan(10, 0.1, 0.05, blur=frozenset({"face"}))
    assert blurring.may_show(DetectOptions(masks="rle"))
    for options in (
        DetectOptions(classes=("cat",)),
        DetectOptions(score_threshold=0.9),
        DetectOptions(max_detections=1),
    ):
        assert not blurring.may_show(options)
        assert PLAN.may_show(options)
