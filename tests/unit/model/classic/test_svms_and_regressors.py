"""The SVMs and regressors are scikit-learn's on the rows the paper chooses."""

import numpy as np
import pytest
from sklearn.svm import SVC

from model.classic.box_ridge import LAMBDA, fit_box_regressor
from model.classic.linear_svms import MinedSvm, fit_svm


@pytest.fixture
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """60 positives and 4000 negatives in 8 dimensions of length about 20, overlapping a little."""
    rng = np.random.default_rng(0)
    positives = rng.normal(0, 5, (60, 8)) + 6
    return positives.astype(np.float32), rng.normal(0, 7, (4000, 8)).astype(np.float32)


def test_the_svm_minimises_what_the_paper_minimises(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    """Another solver on the same problem, the bias as a feature of 10, finds the same plane."""
    positives, negatives = clouds[0], clouds[1][:300]
    fitted = fit_svm(positives, negatives)
    rows = np.concatenate([positives, negatives])
    widened = np.concatenate([rows, np.full((len(rows), 1), 10.0)], axis=1)
    # libsvm has a bias of its own; pairing every row with its mirror image keeps that at 0.
    mirrored = np.concatenate([widened, -widened])
    signs = np.repeat([1, -1], [60, 300])
    weights = np.where(signs > 0, 2.0, 1.0)
    other = SVC(kernel="linear", C=0.5e-3, tol=1e-6)
    other.fit(mirrored, np.concatenate([signs, -signs]), sample_weight=np.concatenate([weights, weights]))
    assert abs(other.intercept_[0]) < 1e-4
    found = np.append(fitted.coef_[0], fitted.intercept_[0] / 10)
    assert np.allclose(found, other.coef_[0], atol=2e-3)


def test_mined_negatives_give_the_plane_of_all_negatives(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    """One pass over the images in parts of 100; most negatives are never kept."""
    positives, negatives = clouds
    mined = MinedSvm(positives, fit_after=300)
    for part in np.split(negatives, 40):
        mined.show(part)
    found, whole = mined.finished(), fit_svm(positives, negatives)
    assert found.negatives_seen == 4000 and found.fits > 1 and found.negatives_kept < 2500
    scores = [rows @ found.weight + found.bias for rows in clouds]
    expected = [whole.decision_function(rows) for rows in clouds]
    assert np.corrcoef(np.concatenate(scores), np.concatenate(expected))[0, 1] > 0.999


def test_a_class_without_objects_never_scores() -> None:
    """No positive: nothing to tell apart."""
    mined = MinedSvm(np.zeros((0, 4), np.float32))
    mined.show(np.ones((9, 4), np.float32))
    assert mined.finished().bias == -np.inf


def test_box_regression_is_ridge_regression_in_closed_form() -> None:
    """(X'X + 1000 I)^-1 X'T on centred rows, the targets as appendix C writes them."""
    rng = np.random.default_rng(0)
    pooled = rng.normal(0, 3, (500, 12)).astype(np.float32)
    corners = rng.uniform(0, 100, (500, 2))
    regions = np.concatenate([corners, corners + rng.uniform(20, 60, (500, 2))], axis=1).astype(np.float32)
    truths = regions + rng.normal(0, 3, (500, 4)).astype(np.float32)
    size, true_size = regions[:, 2:] - regions[:, :2], truths[:, 2:] - truths[:, :2]
    middle = (truths[:, :2] + true_size / 2 - regions[:, :2] - size / 2) / size
    targets = np.concatenate([middle, np.log(true_size / size)], axis=1)
    centred = pooled - pooled.mean(0)
    expected = np.linalg.solve(centred.T @ centred + LAMBDA * np.eye(12), centred.T @ (targets - targets.mean(0)))
    weight, bias = fit_box_regressor(pooled, regions, truths)
    assert np.allclose(weight, expected.T, atol=1e-5)
    assert np.allclose(bias, targets.mean(0) - weight @ pooled.mean(0), atol=1e-5)


def test_without_regions_boxes_stay() -> None:
    """Weights and intercepts of nothing."""
    empty = np.zeros((0, 4), np.float32)
    weight, bias = fit_box_regressor(np.zeros((0, 6), np.float32), empty, empty)
    assert weight.shape == (4, 6) and not weight.any() and not bias.any()
