"""
Drift on what the shipped models said of real images, as they were and made worse.

The observations beside this file were written by `python -m model.drift_drill`, which asks the served model.
"""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.baseline import ALARMS, make_baseline
from service.bundle import read_bundle
from service.detections import Answer, Detections, DetectOptions, ModelId, Timings
from service.drift import BLOCK_IMAGES, Drift, Window
from service.images import Limits
from service.metrics import Metrics
from service.signals import OF_DETECTION, SIGNALS, Observation, observe
from service.sketch import Baseline, kl, psi, read_baseline
from service.sources import come_from
from tests.conftest import ZOO, encode_picture
from tests.patience import PATIENCE_S

BUNDLES = ("blood-cells", "nuclei")
RANDOM = np.random.default_rng(7)
MODEL = ModelId("toy", "1", "sha256:0")


def observed(bundle: str) -> dict[str, list[Observation]]:
    path = Path(__file__).parent / "drift" / f"{bundle}.json.gz"
    conditions = json.loads(gzip.decompress(path.read_bytes()))
    return {
        name: [Observation({signal: np.array(values, float) for signal, values in row.items()}) for row in rows]
        for name, rows in conditions.items()
    }


def shipped(bundle: str) -> Baseline:
    return read_baseline(read_bundle(ZOO / bundle).path("baseline.json"))


def drifted(baseline: Baseline, images: list[Observation]) -> set[str]:
    window = Window(baseline)
    for image in images:
        window.add(image)
    return {signal for signal, reading in window.readings().items() if reading.psi > reading.threshold_psi}


def drawn(pool: list[Observation], size: int) -> list[Observation]:
    return [pool[index] for index in RANDOM.integers(len(pool), size=size)]


def without(image: Observation, label_id: int) -> Observation:
    kept = image.values["class"] != label_id
    values = {**image.values, "detections_per_image": np.array([float(kept.sum())])}
    return Observation(values | {signal: image.values[signal][kept] for signal in OF_DETECTION})


@pytest.mark.parametrize(
    ("bundle", "condition", "telling"),
    [
        ("blood-cells", "brighter", "brightness"),
        ("blood-cells", "blurred", "sharpness"),
        ("blood-cells", "other", "score"),
        ("nuclei", "brighter", "sharpness"),  # these images differ in brightness by more; their edges get steeper
        ("nuclei", "blurred", "sharpness"),
        ("nuclei", "other", "score"),
    ],
)
def test_a_changed_world_is_flagged_by_the_signal_that_tells_what_changed(
    bundle: str, condition: str, telling: str
) -> None:
    """Brightness + 30 %, a blur of 2 px, the other model's images: within 500 images, each of 8 times."""
    pool, baseline = observed(bundle)[condition], shipped(bundle)
    assert all(telling in drifted(baseline, drawn(pool, 500)) for _ in range(8))


@pytest.mark.parametrize("label_id", [1, 2, 3])
def test_a_class_that_is_not_found_any_more_is_flagged(label_id: int) -> None:
    """Whichever of the three it is."""
    pool = [without(image, label_id) for image in observed("blood-cells")["same"]]
    assert all("class" in drifted(shipped("blood-cells"), drawn(pool, 500)) for _ in range(8))


def test_where_the_only_class_is_not_found_any_more_the_count_tells() -> None:
    """Its share of all classes stays 1."""
    pool = [without(image, 1) for image in observed("nuclei")["same"]]
    assert "detections_per_image" in drifted(shipped("nuclei"), drawn(pool, 500))


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("size", [50, 200, 500])
def test_an_unchanged_world_hardly_ever_raises_an_alarm(bundle: str, size: int) -> None:
    """Over all signals together, at most 1 % of 1000 windows."""
    pool, baseline = observed(bundle)["same"], shipped(bundle)
    counts = {
        signal: np.array([_counted(baseline, signal, image) for image in pool], float) for signal in baseline.edges
    }
    windows = RANDOM.multinomial(size, np.full(len(pool), 1 / len(pool)), 1000).astype(float)
    alarms = np.zeros(1000, bool)
    for signal, by_image in counts.items():
        alarms |= psi(baseline.counts[signal], windows @ by_image) > baseline.threshold_psi(signal, size)
    assert alarms.mean() <= ALARMS


def _counted(baseline: Baseline, signal: str, image: Observation) -> NDArray[np.float64]:
    counts = baseline.empty()
    baseline.add(counts, image)
    return counts[signal]


def test_a_baseline_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """And one that lacks a signal is refused with a reason."""
    made = make_baseline(observed("blood-cells")["same"][:20], ("a", "b", "c"))
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(made.as_json()))
    again = read_baseline(path)
    assert again.floors == made.floors and again.window_images == made.window_images
    for signal in SIGNALS:
        assert np.array_equal(again.edges[signal], made.edges[signal])
        assert np.array_equal(again.counts[signal], made.counts[signal])
    path.write_text('{"images": 1}')
    with pytest.raises(ValueError, match=r"baseline\.json is no baseline"):
        read_baseline(path)


def test_equal_distributions_have_no_distance_and_psi_is_symmetric() -> None:
    """PSI is KL both ways; windows in which nothing was counted say nothing."""
    p, q = np.array([40.0, 10, 50]), np.array([10.0, 60, 30])
    assert psi(p, p) == 0 and psi(p, q) == pytest.approx(psi(q, p))
    assert psi(p, q) == pytest.approx(kl(p, q) + kl(q, p))
    assert psi(p, np.zeros(3)) == 0


def answer_of(image: NDArray[np.uint8]) -> Answer:
    boxes = np.array([[2, 2, 12, 7]], np.float32)
    found = Detections(image.shape[:2], boxes, np.array([0.9], np.float32), np.array([1]), ("thing",))
    return Answer(MODEL, found, Timings({}, 0.1))


def test_signals_are_what_they_are_called() -> None:
    """A flat picture has no contrast and no edges; a box's area is its share of the picture."""
    image = np.full((64, 128, 3), 51, np.uint8)
    values = observe(image, answer_of(image).detections).values
    assert values["brightness"] == pytest.approx(0.2) and values["contrast"] == values["sharpness"] == 0
    assert values["image_size"] == 13 and values["detections_per_image"] == 1
    assert values["box_area"] == pytest.approx(np.log2(50 / 8192), abs=1e-4) and values["box_aspect"] == 1
    noisy = RANDOM.integers(0, 255, image.shape, np.uint8)
    assert observe(noisy, answer_of(image).detections).values["sharpness"] > 10


class _Told:
    def __init__(self) -> None:
        self.reads: list[tuple[str | None, int]] = []

    def drift_read(self, model: str, source: str | None, images: int, readings: object) -> None:
        self.reads.append((source, images))


@pytest.fixture
def world() -> list[Observation]:
    image = np.full((64, 64, 3), 90, np.uint8)
    return [observe(image, answer_of(image).detections)] * 30


def test_sources_are_told_apart_up_to_a_bound(world: list[Observation]) -> None:
    """Those after the second are one; each has its own window."""
    told = _Told()
    drift = Drift(Limits(10**6, 10**6), told, 1.0, 2)
    drift.watch(MODEL, make_baseline(world, ("thing",)))
    for index in range(4 * BLOCK_IMAGES):
        drift.observed("toy", world[0], f"camera-{index % 4}")
    assert drift.report()["toy"].keys() == {"", "camera-0", "camera-1", "(other)"}
    assert told.reads[-1] == (None, 200) and ("camera-0", 50) in told.reads and ("(other)", 50) in told.reads
    drift.close()


def test_only_answers_to_the_models_own_options_are_looked_at_and_no_more_than_asked(world: list[Observation]) -> None:
    """Another threshold is no drift; neither is an older version; the clock bounds what is looked at."""
    now = [0.0]
    drift = Drift(Limits(10**6, 10**6), Metrics(), 1.0, 2, clock=lambda: now[0])
    drift.watch(MODEL, make_baseline(world, ("thing",)))
    picture = encode_picture(64, 64)
    answer = answer_of(np.zeros((64, 64, 3), np.uint8))
    come_from("camera-1")
    for options, asked in (
        (DetectOptions(), answer),
        (DetectOptions(score_threshold=0.1), answer),
        (DetectOptions(), replace(answer, model=replace(MODEL, version="0", digest="sha256:1"))),
        (DetectOptions(), answer),  # too soon
    ):
        drift.exchanged(picture, options, 0.5, asked)
        assert drift._busy.acquire(timeout=PATIENCE_S)  # else closing forgets what nobody has looked at yet
        drift._busy.release()
    drift.close()
    window = drift._watched["toy"].windows
    assert window[None]._in_it == 1 and window["camera-1"]._in_it == 1


def test_it_can_be_asked_whether_a_model_or_a_source_has_drifted() -> None:
    """As its last window was judged; of a model nobody watches: no."""
    pool, drift = observed("nuclei"), Drift(Limits(1, 1), Metrics(), images_per_s=1, most_sources=4)
    drift.watch(MODEL, shipped("nuclei"))
    for image in (pool["same"] * 5)[:100]:
        drift.observed("toy", image)
    assert not drift.has_drifted("toy") and not drift.has_drifted("nobody")
    for image in pool["other"][:50]:
        drift.observed("toy", image, "camera-7")
    assert drift.has_drifted("toy", "camera-7")
