"""The shipped models: sound on disk, equal to eager torchvision, the same answer in any company."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.parity import compare
from model.restore import restore
from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.app import Service
from service.bundle import Bundle, read_bundle, write_bundle
from service.detections import DetectOptions, NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import DetectorOutput, Engine, EngineOptions
from service.engine.cpu import cpu_features, has_bf16
from service.engine.onnx import OnnxEngine
from service.engine.openvino import OpenVinoEngine
from service.engine.precision import Precision
from service.errors import BundleInvalid
from service.images import Limits, decode
from service.preprocess import to_canvas
from service.selfcheck import self_check
from service.settings import read_settings
from tests.conftest import ZOO, Served

NAMES = ["nuclei", "blood-cells"]
ENGINES = {"onnx": OnnxEngine, "openvino": OpenVinoEngine}
FP32 = EngineOptions(precision="fp32")
LIMITS = Limits(10_000_000, 10_000_000)
# Batches and canvases the graphs were not traced with.
CANVASES = [(1, 224, 320), (1, 320, 224), (2, 352, 288), (5, 256, 256)]


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return read_bundle(ZOO / request.param)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> Engine:
    return ENGINES[request.param](bundle, 2, FP32)


@pytest.fixture(scope="module", params=[*ENGINES, "fastest"])
def any_engine(request: pytest.FixtureRequest, bundle: Bundle) -> Engine:
    """Fastest: in bf16 where this CPU has it."""
    precision: Precision = "bf16" if request.param == "fastest" and has_bf16(cpu_features()) else "fp32"
    return ENGINES.get(request.param, OpenVinoEngine)(bundle, 2, EngineOptions(precision=precision))


def golden(bundle: Bundle, index: int = 0) -> NDArray[np.uint8]:
    return decode(bundle.path(bundle.golden_images()[index]).read_bytes(), LIMITS)


def test_the_zoo_is_small_and_proven() -> None:
    """At most 40 MB together, each with measured AP above what was promised, golden images and their licence."""
    size = sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file())
    assert size <= 40_000_000
    for name, kind, promised in (("nuclei", "mask", 0.65), ("blood-cells", "box", 0.80)):
        bundle = read_bundle(ZOO / name)
        assert json.loads(bundle.path("metrics.json").read_text())[kind]["AP50"] >= promised
        assert len(bundle.golden_images()) >= 2
        assert {"dataset", "epochs", "seed", "trained_with"} <= set(bundle.manifest.provenance)
        assert bundle.path("LICENSE-golden.txt").stat().st_size > 100


def test_each_bundle_passes_its_self_check(bundle: Bundle, engine: Engine) -> None:
    """On both engines."""
    self_check(bundle, engine)


def test_the_self_check_refuses_another_models_engine() -> None:
    """The nuclei bundle on the blood cells' engine: caught before anything is served."""
    with pytest.raises(BundleInvalid, match="expected detections are not found"):
        self_check(read_bundle(ZOO / "nuclei"), OnnxEngine(read_bundle(ZOO / "blood-cells"), 2))


class Overlooking(OnnxEngine):
    """Does not see the surest object of an image."""

    def detect(self, *args: Any) -> DetectorOutput:
        output = super().detect(*args)
        boxes, surest = output.boxes_xyxy[0], output.boxes_xyxy[0, output.scores[0].argmax()]
        sides = np.minimum(boxes[:, 2:], surest[2:]) - np.maximum(boxes[:, :2], surest[:2])
        overlaps = sides.clip(min=0).prod(1) > 0.3 * (surest[2:] - surest[:2]).prod()
        return replace(output, scores=np.where(overlaps, 0, output.scores))


def test_only_below_fp32_may_the_self_check_miss_one_detection_in_ten(tmp_path: Path) -> None:
    """Rounding decides which of two near equals NMS keeps; in fp32 nothing excuses a missing object."""
    root = tmp_path / "blood-cells"
    shutil.copytree(read_bundle(ZOO / "blood-cells").root, root, ignore=shutil.ignore_patterns("*.bf16.json"))
    original = read_bundle(ZOO / "blood-cells").manifest
    bundle = write_bundle(root, original.model_dump(mode="json", exclude={"files", "schema_version"}))
    engine = Overlooking(bundle, 2)
    with pytest.raises(BundleInvalid, match=r"1 of \d+ expected detections .* by engine onnx \(fp32\)"):
        self_check(bundle, engine)
    engine.precision = "bf16"
    self_check(bundle, engine)


def test_what_is_expected_below_fp32_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    """Here something impossible: found wanting by an engine of that precision, and of no concern to others."""
    root = tmp_path / "blood-cells"
    shutil.copytree(read_bundle(ZOO / "blood-cells").root, root)
    bundle = read_bundle(root)
    for name in bundle.golden_images():
        document = json.loads(bundle.path(f"{name}.json").read_text())
        for row in document["detections"]:
            row["box"] = [side + 300 for side in row["box"]]
        (root / f"{name}.bf16.json").write_text(json.dumps(document))
    bundle = write_bundle(root, bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))
    engine = OnnxEngine(bundle, 2)
    self_check(bundle, engine)
    engine.precision = "bf16"
    with pytest.raises(BundleInvalid, match=r"expected detections are not found by engine onnx \(bf16\)"):
        self_check(bundle, engine)


def test_graphs_hold_no_control_flow(bundle: Bundle) -> None:
    """No If, no Loop: batch and size are free, and accelerators can follow."""
    import onnx

    for name in bundle.manifest.files:
        if name.endswith(".onnx"):
            operators = {node.op_type for node in onnx.load(str(bundle.path(name))).graph.node}
            assert not operators & {"If", "Loop", "Scan"}


@torch.no_grad()
@pytest.mark.parametrize(("count", "height", "width"), CANVASES)
def test_graphs_equal_eager_torchvision(bundle: Bundle, engine: Engine, count: int, height: int, width: int) -> None:
    """Every detection above 0.05 has its equal: label, box within 0.5 px, score within 1e-3; mates of other sizes."""
    image = golden(bundle)
    canvases = np.zeros((count, height, width, 3), np.uint8)
    sizes = [(height - 17 * index, width - 11 * index) for index in range(count)]
    for canvas, (h, w) in zip(canvases, sizes, strict=True):
        canvas[:h, :w] = cv2.resize(image, (w, h))
    parity = compare(restore(bundle), engine, bundle, canvases, np.array(sizes))
    assert parity.detections > 5 * count
    assert (parity.unmatched, parity.flips) == (0, 0), parity


def test_graphs_equal_eager_torchvision_on_an_image_with_nothing_in_it(bundle: Bundle, engine: Engine) -> None:
    """Black canvases of two sizes: whatever faint things one sees there, the other sees too."""
    black = np.zeros((2, 256, 320, 3), np.uint8)
    parity = compare(restore(bundle), engine, bundle, black, np.array([[256, 320], [100, 90]]))
    assert parity.unmatched == 0, parity


def test_no_detections_is_an_answer_too(nuclei: tuple[asyncio.Runner, Service]) -> None:
    """Nothing above the threshold: empty arrays, no masks, no mask head run on nothing."""
    runner, service = nuclei
    options = DetectOptions(score_threshold=1.0, masks="rle")
    answer = runner.run(service.predictor.predict(_encoded(np.zeros((200, 300, 3), np.uint8)), options))
    assert answer.detections.boxes_xyxy.shape == (0, 4) and answer.detections.masks == ()


@pytest.fixture(scope="module", params=ENGINES)
def nuclei(request: pytest.FixtureRequest) -> Iterator[tuple[asyncio.Runner, Service]]:
    """The nuclei model in this process, on each engine."""
    with asyncio.Runner() as runner:
        service = Service(read_settings(bundles=str(ZOO / "nuclei"), engine=request.param, default_timeout_ms=120_000))
        runner.run(service.load())
        yield runner, service
        runner.run(service.unload())


def test_the_same_answer_alone_and_in_company(bundle: Bundle, any_engine: Engine) -> None:
    """Batch-invariance: an image among seven different ones of its canvas: boxes within 0.01 px, scores within 1e-4."""
    images = [np.roll(golden(bundle, index % 2), 20 * index, axis=index // 2 % 2) for index in range(8)]
    works = [_work(image, bundle) for image in images]
    for found, work in zip(detect_batch(any_engine, works), works, strict=True):
        single = detect_batch(any_engine, [work])[0]
        assert len(single.picked.scores) == len(found.picked.scores) > 5
        np.testing.assert_allclose(found.picked.boxes_xyxy, single.picked.boxes_xyxy, atol=0.01)
        np.testing.assert_allclose(found.picked.scores, single.picked.scores, atol=1e-4)
        assert (found.picked.label_ids == single.picked.label_ids).all()
        if work.wants_masks:
            assert found.probabilities is not None and single.probabilities is not None
            np.testing.assert_allclose(found.probabilities, single.probabilities, atol=1e-3)


def _work(image: NDArray[np.uint8], bundle: Bundle) -> Work:
    canvas, geometry = to_canvas(image, bundle.manifest.preprocess)
    nms = NmsOptions(0.05, 0.5, "hard", class_agnostic=False, max_detections=100, label_ids=None)
    return Work(canvas, geometry.resized_hw, nms, wants_masks=bundle.manifest.task == "segmentation")


def test_the_canvas_of_an_image_is_its_own(bundle: Bundle) -> None:
    """The golden images lie on canvases of the bundle's grid."""
    _, geometry = to_canvas(golden(bundle), bundle.manifest.preprocess)
    assert geometry.canvas_hw in bundle.manifest.preprocess.canvas_grid


def _encoded(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", image[:, :, ::-1])[1])


def test_a_newcomers_first_curl_finds_nuclei(served: Served) -> None:
    """`make serve` and the README's curl: the default model finds nuclei with masks; gRPC finds the very same."""
    listed = httpx.get(f"{served.http_url}/v1/models").json()["models"]
    assert [model["name"] for model in listed if model["default"]] == ["nuclei"]
    assert {model["name"] for model in listed} == set(NAMES)
    image = Path(next(iter(sorted((ZOO / "nuclei").rglob("*.png"))))).read_bytes()
    url = f"{served.http_url}/v1/detect?masks=rle"
    answer = httpx.post(url, content=image, headers={"Content-Type": "image/png"}, timeout=60).json()
    assert len(answer["detections"]) >= 5
    assert all(row["label"] == "nucleus" and row["mask"]["counts"] for row in answer["detections"])
    request = pb.DetectRequest(image=image, options=pb.DetectOptions(masks=pb.MASK_FORMAT_RLE))
    with grpc.insecure_channel(served.grpc_address) as channel:
        found = pb_grpc.DetectionServiceStub(channel).Detect(request).detections
    assert [row.rle.counts for row in found] == [row["mask"]["counts"] for row in answer["detections"]]
    boxes = [[row.box.x1, row.box.y1, row.box.x2, row.box.y2] for row in found]
    np.testing.assert_allclose(boxes, [row["box"] for row in answer["detections"]], atol=1e-2)
