"""The ten bad and five harmless releases the judge is tried on, made from the shipped bundles."""

from collections.abc import Callable
from pathlib import Path

import onnx

from deploy.judge.proof.candidates import (
    altered,
    blindly_quantised,
    compiled_anew,
    in_bfloat16,
    in_levels,
    noised,
    squeeze,
    swap_channels,
    weights_by,
    with_fewer_proposals,
    zeroed,
)
from deploy.judge.proof.pairs import Release
from service.bundle import read_bundle


def of_blood_cells(stable: Path, out: Path) -> list[Release]:
    labels = list(read_bundle(stable).manifest.labels)
    changed: list[tuple[str, str, dict[str, object] | None, Callable[[onnx.ModelProto], None] | None]] = [
        ("bgr", "red and blue swapped", None, swap_channels),
        ("squeezed", "images squeezed to a square", None, squeeze),
        ("labels", "labels shifted by one", {"labels": labels[1:] + labels[:1]}, None),
        ("nms", "NMS at IoU 0.9", {"postprocess": {"iou_threshold": 0.9}}, None),
        ("threshold", "score threshold 0.7", {"postprocess": {"score_threshold": 0.7}}, None),
        ("noise", "10 % noise on the weights", None, weights_by(noised(0.1))),
    ]
    same: list[tuple[str, str, Callable[[onnx.ModelProto], None]]] = [
        ("compiled", "graph compiled anew", compiled_anew),
        ("bf16", "weights in bfloat16", weights_by(in_bfloat16)),
        ("8bit", "weights in 8 bits, one scale a tensor", weights_by(in_levels(127))),
    ]
    bad = [Release(name, altered(stable, out / key, parts, change=rule), False) for key, name, parts, rule in changed]
    bad += [Release("int8 without calibration", blindly_quantised(stable, out / "int8"), False)]
    bad += [Release("30 % slower", stable, False, slower=0.3), Release("1 % errors", stable, False, error_rate=0.01)]
    harmless = [Release("stable's twin", stable, True), Release("OpenVINO", stable, True, (("engine", "openvino"),))]
    harmless += [Release("batches of one image", stable, True, (("max_batch_size", 1),))]
    harmless += [Release(name, altered(stable, out / key, change=rule), True) for key, name, rule in same]
    return bad + harmless


def of_nuclei(stable: Path, out: Path) -> list[Release]:
    broken = altered(stable, out / "masks", graph="mask_head.onnx", change=weights_by(zeroed))
    return [Release("mask head broken (nuclei)", broken, False)]


def small(stable: Path, root: Path) -> Path:
    """The bundle at 160 pixels and 40 regions, so that thousands of images can be asked on a machine of two cores."""
    short, long = 120, 160
    grid = [[128, long], [long, 128], [long, long]]
    sizes = {"resize": "fit", "min_size": short, "max_size": long, "canvas_grid": grid}
    return altered(stable, root, {"preprocess": sizes}, change=with_fewer_proposals(40))
