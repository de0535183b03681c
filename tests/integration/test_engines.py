"""The engines with what they keep on disk: the same answers from the cache, and `auto` chooses once."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.bundle import Bundle, read_bundle
from service.detections import NmsOptions
from service.detector import Found, Work, detect_batch
from service.engine.base import Engine, EngineOptions
from service.engine.cache import EngineCache
from service.engine.choice import create_engine
from service.engine.onnx import OnnxEngine
from service.engine.openvino import OpenVinoEngine
from service.errors import BundleInvalid
from service.images import Limits, decode
from service.preprocess import to_canvas
from tests.conftest import ZOO

ENGINES: dict[str, Callable[..., Engine]] = {"onnx": OnnxEngine, "openvino": OpenVinoEngine}


@pytest.fixture(scope="module")
def nuclei() -> Bundle:
    return read_bundle(ZOO / "nuclei")


def detections(engine: Engine, bundle: Bundle, *, mirrored: bool = False) -> Found:
    image = decode(bundle.path(bundle.golden_images()[0]).read_bytes(), Limits(10**7, 10**7))
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
    canvas, geometry = to_canvas(image, bundle.manifest.preprocess)
    nms = NmsOptions(0.05, 0.5, "hard", False, 300, None)
    return detect_batch(engine, [Work(canvas, geometry.resized_hw, nms, wants_masks=True)])[0]


@pytest.mark.parametrize("name", ENGINES)
def test_the_answer_from_the_cache_is_the_same(nuclei: Bundle, tmp_path: Path, name: str) -> None:
    """Compiled afresh, written and read back, and read at a second start."""
    cached = EngineOptions(cache=EngineCache(tmp_path))
    afresh = detections(ENGINES[name](nuclei, 2), nuclei)
    assert len(afresh.picked.scores) > 5 and afresh.probabilities is not None
    for _ in range(2):
        again = detections(ENGINES[name](nuclei, 2, cached), nuclei)
        assert again.probabilities is not None
        np.testing.assert_allclose(again.picked.boxes_xyxy, afresh.picked.boxes_xyxy, atol=0.01)
        np.testing.assert_allclose(again.picked.scores, afresh.picked.scores, atol=1e-4)
        np.testing.assert_allclose(again.probabilities, afresh.probabilities, atol=1e-3)
    assert len(list(tmp_path.iterdir())) == 2  # detector and mask head


def test_lanes_find_side_by_side_what_the_whole_engine_finds(nuclei: Bundle) -> None:
    """Each with features of its own: masks are of its own image, while the other looks at a mirror of that."""
    whole = OpenVinoEngine(nuclei, 2)
    assert whole.lane_count == 2 and OpenVinoEngine(nuclei, 1).lane_count == 0 and OnnxEngine(nuclei, 2).lane_count == 0
    lanes = whole.lanes()
    assert [lane.precision for lane in lanes] == [whole.precision] * 2
    alone = [detections(whole, nuclei, mirrored=mirrored) for mirrored in (False, True)]
    assert len(alone[0].picked.scores) > 5
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            asked = [threads.submit(detections, lane, nuclei, mirrored=bool(k)) for k, lane in enumerate(lanes)]
            for found, expected in zip([one.result() for one in asked], alone, strict=True):
                assert found.probabilities is not None and expected.probabilities is not None
                np.testing.assert_allclose(found.picked.boxes_xyxy, expected.picked.boxes_xyxy, atol=0.01)
                np.testing.assert_allclose(found.picked.scores, expected.picked.scores, atol=1e-3)
                np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=5e-3)


def test_auto_measures_once_and_remembers(nuclei: Bundle, tmp_path: Path) -> None:
    """The log says what was chosen and why; the next start says it was chosen before."""
    log: list[str] = []
    options = EngineOptions(cache=EngineCache(tmp_path))
    chosen = create_engine("auto", nuclei, 2, options, 0.0, log.append)
    assert "is the fastest here: onnx " in log[-1] and "openvino " in log[-1]
    again = create_engine("auto", nuclei, 2, options, 0.0, log.append)
    assert again.name == chosen.name and "was the fastest here at an earlier start" in log[-1]


def test_an_engine_that_is_not_installed_is_refused(nuclei: Bundle) -> None:
    """TensorRT comes with onnxruntime-gpu, which is never installed beside onnxruntime."""
    with pytest.raises(BundleInvalid, match="engine tensorrt"):
        create_engine("tensorrt", nuclei, 2, EngineOptions(), 0.0, lambda _: None)


GIVEN_BACK_ELSEWHERE = """
import signal, subprocess, sys, threading
from pathlib import Path
from service.bundle import read_bundle
from service.engine.openvino import OpenVinoEngine

engines = [OpenVinoEngine(read_bundle(Path(sys.argv[1])), 1)]
other = threading.Thread(target=engines.clear)
other.start()
other.join()
heard = []
signal.signal(signal.SIGCHLD, lambda *_: heard.append("a child ended"))
subprocess.run(["true"], check=True)
print(*heard)
"""


def test_signals_are_survived_after_another_thread_gave_the_engine_back() -> None:
    """Models are unloaded on other threads than they were loaded on, and processes are sent signals."""
    command = [sys.executable, "-c", GIVEN_BACK_ELSEWHERE, str(ZOO / "nuclei")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "a child ended\n"), ended.stderr


PINNED = """
import os, sys
from pathlib import Path
import numpy as np
from service.bundle import read_bundle
from service.engine.openvino import OpenVinoEngine

bundle = read_bundle(Path(sys.argv[1]))
height, width = bundle.manifest.preprocess.canvas_grid[0]
engine = OpenVinoEngine(bundle, 2)
engine.detect(np.zeros((1, height, width, 3), np.uint8), np.array([[height, width]]))
everywhere = os.sched_getaffinity(0)
print(sum(os.sched_getaffinity(int(thread)) != everywhere for thread in os.listdir("/proc/self/task")))
"""


def test_no_thread_is_bound_to_a_core() -> None:
    """The engines of all processes on a host would be bound to the same first ones."""
    ended = subprocess.run([sys.executable, "-c", PINNED, str(ZOO / "nuclei")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "0\n"), ended.stderr
