"""bf16 only where the CPU has it, and by itself only where it was measured to lose nothing that matters."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.bundle import Bundle, write_bundle
from service.engine.cpu import cpu_features, has_bf16
from service.engine.precision import ap_lost, cpu_precision
from service.errors import BundleInvalid
from tests.conftest import MANIFEST

FP32 = {"box": {"AP": 0.5}, "mask": {"AP": 0.4}}


def bundle_with(tmp_path: Path, metrics: dict[str, Any] | None) -> Bundle:
    for name in ("detector.onnx", "mask_head.onnx"):
        (tmp_path / name).write_bytes(b"never opened here")
    if metrics is not None:
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    return write_bundle(tmp_path, MANIFEST)


@pytest.mark.parametrize(
    ("bf16", "flags", "expected"),
    [
        pytest.param({"box": {"AP": 0.5}, "mask": {"AP": 0.3995}}, {"avx512_bf16"}, "bf16", id="loses little"),
        pytest.param({"box": {"AP": 0.499}, "mask": {"AP": 0.399}}, {"amx_bf16"}, "bf16", id="loses just as much"),
        pytest.param({"box": {"AP": 0.5}, "mask": {"AP": 0.39}}, {"avx512_bf16"}, "fp32", id="masks lose"),
        pytest.param({"box": {"AP": 0.51}, "mask": {"AP": 0.4}}, {"avx2"}, "fp32", id="the CPU lacks it"),
        pytest.param(None, {"amx_bf16"}, "fp32", id="nobody measured"),
    ],
)
def test_auto_takes_bf16_only_where_it_is_fast_and_proven(
    tmp_path: Path, bf16: dict[str, Any] | None, flags: set[str], expected: str
) -> None:
    """A tenth of an AP point is the most."""
    metrics = FP32 if bf16 is None else {**FP32, "precisions": {"bf16": bf16}}
    assert cpu_precision("auto", bundle_with(tmp_path, metrics), frozenset(flags)) == expected


def test_what_this_cpu_cannot_do_is_refused_with_what_to_ask_for(tmp_path: Path) -> None:
    """Not silently served as something else."""
    bundle = bundle_with(tmp_path, None)
    for asked in ("bf16", "fp16"):
        with pytest.raises(BundleInvalid, match=f"{asked}.*ask for auto"):
            cpu_precision(asked, bundle, frozenset({"avx2"}))
    assert cpu_precision("bf16", bundle, frozenset({"avx512_bf16"})) == "bf16"
    assert ap_lost(bundle, "bf16") is None


def test_the_flags_are_those_linux_reports(tmp_path: Path) -> None:
    """x86 says flags, Arm says Features; where there is no such file the architecture has to do."""
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: avx2 avx512_bf16\n\nprocessor\t: 1\nflags\t\t: avx2\n")
    assert cpu_features(file) == {"avx2", "avx512_bf16"} and has_bf16(cpu_features(file))
    file.write_text("processor\t: 0\nFeatures\t: asimd bf16\n")
    assert has_bf16(cpu_features(file))
    assert len(cpu_features(tmp_path / "none")) == 1


def test_the_loss_is_the_worse_of_boxes_and_masks(tmp_path: Path) -> None:
    """What the model's description shows; a gain is negative."""
    bf16 = {"box": {"AP": 0.51}, "mask": {"AP": 0.397}}
    assert ap_lost(bundle_with(tmp_path, {**FP32, "precisions": {"bf16": bf16}}), "bf16") == pytest.approx(0.003)
