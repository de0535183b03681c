"""The ten bad and five harmless releases the judge is tried on, made from the shipped bundles."""

from collections.abc import Callable
from pathlib import Path

import onnx

from deploy.judge.proof.candidates import altered, in_bfloat16, in_levels, noised, swap_channels, weights_by, zeroed
from deploy.judge.proof.pairs import Release
from service.bundle import read_bundle


def of_blood_cells(stable: Path, out: Path) -> list[Release]:
    manifest = read_bundle(stable).manifest
    sizes, labels = manifest.preprocess, list(manifest.labels)
    half = {"min_size": sizes.min_size // 2, "max_size": sizes.max_size // 2}
    changed: list[tuple[str, str, dict[str, object] | None, Callable[[onnx.ModelProto], None] | None]] = [
        ("bgr", "red and blue swapped", None, swap_channels),
        ("half", "images at half size", {"preprocess": half}, None),
        ("labels", "labels shifted by one", {"labels": labels[1:] + labels[:1]}, None),
        ("nms", "NMS at IoU 0.9", {"postprocess": {"iou_threshold": 0.9}}, None),
        ("threshold", "score threshold 0.7", {"postprocess": {"score_threshold": 0.7}}, None),
        ("noise", "10 % noise on the weights", None, weights_by(noised(0.1))),
        ("4bit", "weights in 4 bits, one scale a tensor", None, weights_by(in_levels(7))),
    ]
    same: list[tuple[str, str, Callable[[onnx.ModelProto], None]]] = [
        ("saved", "graph saved anew", lambda model: None),
        ("bf16", "weights in bfloat16", weights_by(in_bfloat16)),
        ("8bit", "weights in 8 bits, one scale a tensor", weights_by(in_levels(127))),
    ]
    bad = [Release(name, altered(stable, out / key, parts, change=rule), False) for key, name, parts, rule in changed]
    bad += [Release("30 % slower", stable, False, slower=0.3), Release("1 % errors", stable, False, error_rate=0.01)]
    harmless = [Release("stable's twin", stable, True), Release("OpenVINO", stable, True, (("engine", "openvino"),))]
    harmless += [Release(name, altered(stable, out / key, change=rule), True) for key, name, rule in same]
    return bad + harmless


def of_nuclei(stable: Path, out: Path) -> list[Release]:
    broken = altered(stable, out / "masks", graph="mask_head.onnx", change=weights_by(zeroed))
    return [Release("mask head broken (nuclei)", broken, False)]
