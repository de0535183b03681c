"""What a teacher asks of a student, and which teachers are refused."""

import copy
import dataclasses

import pytest
import torch

from model.architectures import build
from model.distillation import (
    Lesson,
    Shares,
    Teacher,
    TeacherUnfit,
    bounded_distance,
    check_teacher,
    hint,
    soft_cross_entropy,
)
from model.learner import Learner
from model.recipes import Recipe, Stage

CPU = torch.device("cpu")
STAGE = Stage(epochs=6, learning_rate=2e-3, view="whole", view_hw=(64, 64), scale_range=(0.9, 1.1))
OPTIONS = {"min_size": 64, "max_size": 64, "rpn_post_nms_top_n_train": 50, "box_batch_size_per_image": 32}
NARROW = {"widths": {"backbone.fpn": 48, "backbone.fpn.inner": 48}}
LABELS = ("round", "square")


def teacher_of(architecture: str = "fasterrcnn_small_fpn", **options: object) -> Teacher:
    torch.manual_seed(1)
    return Teacher(build(architecture, 3, **options).eval(), architecture, LABELS, "sha256:0", Shares())


def pictures() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    images = list(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    seen = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1])}
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    return images, [seen, empty]


def test_class_scores_are_asked_for_where_they_differ() -> None:
    """Nothing where they agree; a mistake about the background weighs half as much again."""
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    assert soft_cross_entropy(logits, logits).item() == 0
    sure = torch.tensor([[40.0, 0.0], [0.0, 40.0]])
    background, object = (soft_cross_entropy(torch.zeros(1, 2), row[None]).item() for row in sure)
    assert background == pytest.approx(1.5 * object) and object == pytest.approx(0.6931, abs=1e-3)


def test_a_student_nearer_to_the_truth_than_its_teacher_is_asked_for_no_box() -> None:
    """Of three regions one is worse than the teacher's, one better, one background: a third of the first's square."""
    truth, labels = torch.zeros(3, 4), torch.tensor([1, 2, 0])
    student, teacher = torch.full((3, 12), 9.0), torch.full((3, 12), 9.0)
    student[0, 4:8], teacher[0, 4:8] = 2.0, 1.0
    student[1, 8:12], teacher[1, 8:12] = 1.0, 2.0
    assert bounded_distance(student, teacher, truth, labels).item() == pytest.approx(16 / 3)


def test_features_are_compared_by_parts_of_the_teachers_size() -> None:
    """The same for features of any scale; other strides are another teacher's."""
    ours, theirs = torch.rand(2, 1, 4, 8, 8)
    assert hint(theirs, theirs).item() == 0
    assert hint(100 * ours, 100 * theirs).item() == pytest.approx(hint(ours, theirs).item(), rel=1e-4)
    with pytest.raises(TeacherUnfit, match="the teacher's pyramid is"):
        hint(ours[..., :4], theirs)


def test_who_is_its_own_teacher_has_nothing_to_learn() -> None:
    """The teacher sees the same pixels and the same regions, pictures without objects among them."""
    teacher = teacher_of(**OPTIONS)
    student = build("fasterrcnn_small_fpn", 3, **OPTIONS)
    student.load_state_dict(teacher.model.state_dict())
    lesson = Lesson(student, teacher, CPU)
    student.train().backbone.eval()
    student(*pictures())
    assert {name: loss.item() for name, loss in lesson.losses().items()} == pytest.approx(
        {"teacher_logits": 0, "teacher_boxes": 0, "teacher_features": 0}, abs=1e-6
    )


@pytest.mark.parametrize("half_precision", [False, True])
def test_a_narrow_student_comes_nearer_to_its_teacher(half_precision: bool) -> None:
    """Through a 1x1 adapter, which is learnt and kept with the rest; the teacher itself does not change."""
    teacher = teacher_of(**OPTIONS)
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    torch.manual_seed(0)
    recipe = Recipe("toy", "fasterrcnn_small_fpn", (STAGE,), batch=2, model_options=OPTIONS | NARROW)
    learner = Learner(recipe, 3, CPU, half_precision=half_precision, teacher=teacher)
    learner.begin_stage(STAGE, 1)
    losses = [learner.step(*pictures()) for _ in range(6)]
    assert losses[-1]["teacher_features"] < 0.9 * losses[0]["teacher_features"]
    assert learner.state_dict()["adapter"]["weight"].shape == (96, 48, 1, 1)
    assert all(torch.equal(value, before[name]) for name, value in teacher.model.state_dict().items())


def test_a_lesson_goes_on_bit_for_bit() -> None:
    """From the state kept after one step, with the adapter in it, the second step is the same."""
    recipe = Recipe("toy", "fasterrcnn_small_fpn", (STAGE,), batch=2, model_options=OPTIONS | NARROW)
    teacher, found, kept = teacher_of(**OPTIONS), [], None
    for interrupted in (False, True):
        torch.manual_seed(interrupted)  # what is drawn anew is replaced by what was kept
        learner = Learner(recipe, 3, CPU, half_precision=False, teacher=teacher)
        learner.begin_stage(STAGE, 1)
        if kept is None:
            learner.step(*pictures())
            kept = copy.deepcopy(learner.state_dict())
        else:
            learner.load_state_dict(kept)
        torch.manual_seed(3)
        losses = learner.step(*pictures())
        found.append((losses, learner.average.state_dict(), learner.state_dict()["adapter"]))
    (whole, averages, adapter), (resumed, others, other) = found
    assert whole == resumed
    assert all(torch.equal(value, others[name]) for name, value in averages.items())
    assert all(torch.equal(value, other[name]) for name, value in adapter.items())


def test_shares_weigh_the_losses_and_none_leaves_one_out() -> None:
    """Each by its own."""
    images, targets = pictures()
    found = []
    for shares in (Shares(), Shares(logits=2.0, boxes=0.0, features=3.0)):
        torch.manual_seed(0)
        student = build("fasterrcnn_small_fpn", 3, **OPTIONS)
        lesson = Lesson(student, dataclasses.replace(teacher_of(**OPTIONS), shares=shares), CPU)
        torch.manual_seed(2)
        student.train()(images, targets)
        found.append({name: loss.item() for name, loss in lesson.losses().items()})
    assert found[1]["teacher_logits"] == pytest.approx(2 * found[0]["teacher_logits"])
    assert found[1]["teacher_features"] == pytest.approx(3 * found[0]["teacher_features"])
    assert found[1]["teacher_boxes"] == 0


def test_teachers_of_something_else_are_refused() -> None:
    """Another task, other classes or another order of them, no pyramid: each said."""
    teacher = teacher_of()
    check_teacher(teacher, "fasterrcnn_resnet50_fpn", LABELS)
    with pytest.raises(TeacherUnfit, match="is for detection, maskrcnn_small_fpn for segmentation"):
        check_teacher(teacher, "maskrcnn_small_fpn", LABELS)
    with pytest.raises(TeacherUnfit, match="finds round, square, the dataset names square, round"):
        check_teacher(teacher, "fasterrcnn_small_fpn", LABELS[::-1])
    with pytest.raises(TeacherUnfit, match="the student has no feature pyramid"):
        Lesson(build("classic_fasterrcnn_zf", 3, width=0.125, head_channels=32), teacher, CPU)
