"""R-CNN and SPPnet through all their stages on drawn pictures with a tiny trunk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model.classic.assignment import Assignment, Stopwatch
from model.classic.pretraining import pretrain, windows
from model.classic.rcnn import Rcnn, train_rcnn
from model.classic.sppnet import SppNet, train_sppnet
from model.classic.svm_detector import SvmDetector
from model.classic.trunks import Trunk, build_trunk
from model.datasets import Sample, Samples, read_dataset
from model.operating_point import iou
from tests.unit.model.pictures import draw_dataset


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Eight pictures of three objects each, 96 x 64."""
    root = draw_dataset(tmp_path_factory.mktemp("drawn") / "data", {"train": 8})
    return list(Samples(read_dataset(root, "train"), masks=False))


@pytest.fixture(scope="module")
def trunk(samples: list[Sample]) -> Trunk:
    """ZF at a twelfth of its width, pretrained for a few seconds."""
    torch.manual_seed(0)
    made = build_trunk("zf", width=1 / 12, batch_norm=True)
    losses = pretrain(made, samples, 2, side_px=48, steps=30, learning_rate=0.05, seed=0)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    return made


def near(boxes: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes about as large as the objects, some over them, most elsewhere."""
    around = np.repeat(boxes, count, axis=0) + rng.normal(0, 3, (count * len(boxes), 4))
    corners = rng.uniform(0, [70, 40], (10 * count, 2))
    elsewhere = np.concatenate([corners, corners + rng.uniform(12, 24, corners.shape)], axis=1)
    return np.clip(np.concatenate([around, elsewhere]), 0, [96, 64, 96, 64]).astype(np.float32)


@pytest.fixture
def assignment(samples: list[Sample], trunk: Trunk, tmp_path: Path) -> Assignment:
    rng = np.random.default_rng(0)
    proposals = [near(sample.boxes_xyxy, rng, 6) for sample in samples]
    return Assignment(samples, proposals, 2, trunk.state_dict(), 60, 0.05, tmp_path, torch.device("cpu"), Stopwatch())


def _found_share(detector: SvmDetector, assignment: Assignment) -> float:
    """Of the objects: those met by a detection of their class among the four best of the image."""
    met = []
    for sample, proposals in zip(assignment.samples, assignment.proposals_xyxy, strict=True):
        found = detector.detect(sample.image, proposals)
        overlaps = iou(sample.boxes_xyxy, found.boxes_xyxy[:4]) * (sample.labels[:, None] == found.labels[None, :4])
        met.append(overlaps.max(axis=1, initial=0) >= 0.5)
    return float(np.concatenate(met).mean())


def copied(trunk: Trunk) -> Trunk:
    made = build_trunk("zf", width=1 / 12, batch_norm=True)
    made.load_state_dict(trunk.state_dict())
    return made


def test_rcnn_learns_in_four_stages(trunk: Trunk, assignment: Assignment) -> None:
    """The stages in the paper's order, features of all regions on disk, objects found."""
    torch.manual_seed(0)
    detector = Rcnn(copied(trunk), 2, side_px=48, hidden=64)
    on_disk = train_rcnn(detector, assignment)
    watch = assignment.stopwatch
    assert list(watch.wall_s) == list(watch.cpu_s) == ["fine-tuning", "features to disk", "SVMs", "box regressors"]
    rows = sum(
        len(sample.boxes_xyxy) + len(boxes)
        for sample, boxes in zip(assignment.samples, assignment.proposals_xyxy, strict=True)
    )
    features = rows * trunk.out_channels * 9 * 4  # 48 px: a map of 3 x 3 cells, 4 bytes each
    assert features < on_disk < 1.01 * features + 8 * 200
    assert _found_share(detector, assignment) > 0.8
    assert any(
        not torch.equal(a, b)
        for a, b in zip(detector.trunk.state_dict().values(), trunk.state_dict().values(), strict=True)
    )


def test_sppnet_learns_after_its_pyramid_alone(trunk: Trunk, assignment: Assignment) -> None:
    """50 bins a channel on disk; the trunk, its batch norms included, is the pretrained one bit for bit."""
    torch.manual_seed(0)
    detector = SppNet(copied(trunk), 2, hidden=64)
    before = {name: value.clone() for name, value in detector.layers.state_dict().items()}
    on_disk = train_sppnet(detector, assignment)
    assert list(assignment.stopwatch.wall_s) == ["features to disk", "fine-tuning", "SVMs", "box regressors"]
    rows = sum(
        len(sample.boxes_xyxy) + len(boxes)
        for sample, boxes in zip(assignment.samples, assignment.proposals_xyxy, strict=True)
    )
    assert rows * trunk.out_channels * 50 * 4 < on_disk
    assert all(
        torch.equal(a, b)
        for a, b in zip(detector.trunk.state_dict().values(), trunk.state_dict().values(), strict=True)
    )
    assert all(not torch.equal(value, before[name]) for name, value in detector.layers.state_dict().items())
    assert _found_share(detector, assignment) > 0.5


def test_a_system_without_regions_of_its_own_says_so(trunk: Trunk) -> None:
    """And with none at all it finds nothing."""
    image = np.zeros((64, 96, 3), np.uint8)
    for detector in (Rcnn(copied(trunk), 2, side_px=48, hidden=8), SppNet(copied(trunk), 2, hidden=8)):
        with pytest.raises(ValueError, match="needs proposals"):
            detector.detect(image)
        assert len(detector.detect(image, np.zeros((0, 4), np.float32)).scores) == 0


def test_the_papers_networks_have_the_papers_sizes() -> None:
    """227 px to 6 x 6 x 256 to 4096, and 50 x 256 to 4096, on ZF at full width."""
    with torch.device("meta"):
        rcnn, spp = Rcnn(build_trunk("zf"), 20), SppNet(build_trunk("zf"), 20)
    for detector, pooled in ((rcnn, 9216), (spp, 12800)):
        assert isinstance(detector.layers.fc6, nn.Linear)
        assert detector.layers.fc6.weight.shape == (4096, pooled) and detector.layers.scores.weight.shape == (21, 4096)


def test_windows_are_labelled_by_what_is_in_their_middle(samples: list[Sample]) -> None:
    """Green discs are 1, blue boxes 2, noise 0: the colour in the middle tells."""
    squares, classes = windows(samples, 48, np.random.default_rng(0))
    middle = squares[:, 20:28, 20:28].mean(axis=(1, 2))
    assert squares.shape == (128, 48, 48, 3) and {0, 1, 2} == set(classes.tolist())
    assert (middle[classes == 1].argmax(axis=1) == 1).mean() > 0.9
    assert (middle[classes == 0].max(axis=1) < 130).mean() > 0.9
