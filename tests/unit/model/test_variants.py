"""Variants of a bundle: how they are written, and what another size makes of a bundle."""

from pathlib import Path

import pytest

from model.trade_off import Outcome, on_the_front
from model.variants import Variant, VariantInvalid, at_scale, parse
from service.bundle import Bundle, read_bundle
from service.preprocess import plan
from tests.conftest import ZOO


def test_a_variant_is_a_folder_and_wishes() -> None:
    """Nothing said is the bundle as it is served; what is said is in its name, unless it has one of its own."""
    assert parse("zoo/cells") == Variant("cells", Path("zoo/cells"))
    all_of_them = parse("zoo/cells/3,engine=openvino,tta=scale+flip,scale=0.8,precision=bf16")
    name = "cells/3 engine=openvino tta=scale+flip scale=0.8 precision=bf16"
    assert all_of_them == Variant(name, Path("zoo/cells/3"), "openvino", ("flip", "scale"), 0.8, "bf16")
    assert parse("zoo/cells,name=all of it").name == "all of it"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,colour=red", "no colour; there are engine, precision, tta, scale, name"),
        ("a,engine=steam", r"expected engine=auto\|onnx\|openvino, got steam"),
        ("a,precision=low", r"expected precision=auto\|fp32\|bf16, got low"),
        ("a,tta=spin", "'flip' or 'scale', got spin"),
        ("a,scale=big", "could not convert"),
        ("a,scale=nan", "expected a scale from 0.25 to 4"),
        ("a,scale=9", "expected a scale from 0.25 to 4.0, got 9"),
    ],
)
def test_what_is_no_variant_is_told_what_was_expected(text: str, words: str) -> None:
    """Each kind of wish, wrong."""
    with pytest.raises(VariantInvalid, match=words):
        parse(text)


def test_another_size_has_other_canvases_and_no_golden_answers(tmp_path: Path) -> None:
    """0.8 of 448 x 597 is 358 x 477, on a canvas of whole strides; the expectations of the old size are gone."""
    smaller = at_scale(read_bundle(ZOO / "blood-cells"), 0.8, tmp_path / "smaller")
    geometry = plan((480, 640), smaller.manifest.preprocess)
    assert (geometry.resized_hw, geometry.canvas_hw) == ((358, 477), (384, 512))
    again: Bundle = read_bundle(tmp_path / "smaller")
    assert not again.golden_images() and again.digest == smaller.digest != read_bundle(ZOO / "blood-cells").digest


def outcome(latency_ms: float, ap: float) -> Outcome:
    return Outcome("", "onnx", "fp32", "box", ap, ap, {}, {}, latency_ms, 1.0, 1.0)


def test_the_front_is_what_none_beats_in_both() -> None:
    """Quicker and as good beats; equals do not beat each other; slow and best stands."""
    rows = [outcome(10, 0.5), outcome(12, 0.5), outcome(20, 0.6), outcome(15, 0.4), outcome(10, 0.5)]
    assert on_the_front(rows) == [True, False, True, False, True]
