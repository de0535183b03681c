"""fp32 or bf16: what was asked for, or bf16 where it is fast here and was measured to lose nothing that matters."""

import json
from typing import Any, Literal

from service.bundle import Bundle
from service.engine.cpu import has_bf16
from service.errors import BundleInvalid

Precision = Literal["auto", "fp32", "bf16", "fp16"]

MOST_AP_LOST = 0.001  # a tenth of a COCO AP point
_AP_DIGITS = 4  # those of metrics.json: 0.4752 less 0.4742 is no more than 0.001


def cpu_precision(asked: Precision, bundle: Bundle, features: frozenset[str]) -> Literal["fp32", "bf16"]:
    """
    `auto` is bf16 only if this CPU computes it natively and metrics.json shows it loses at most MOST_AP_LOST.

    Raises BundleInvalid if bf16 is asked for on a CPU without it, or fp16, which no CPU path here has.
    """
    if asked == "fp16":
        raise BundleInvalid("engine precision fp16: only on a GPU; this is a CPU engine, ask for auto, fp32 or bf16")
    if asked == "bf16" and not has_bf16(features):
        raise BundleInvalid("engine precision bf16: this CPU has no avx512_bf16 or amx_bf16; ask for auto or fp32")
    if asked != "auto":
        return asked
    lost = ap_lost(bundle, "bf16")
    return "bf16" if has_bf16(features) and lost is not None and lost <= MOST_AP_LOST else "fp32"


def ap_lost(bundle: Bundle, precision: str) -> float | None:
    """AP in [0, 1] lost against fp32, the worse of boxes and masks, by metrics.json; None if nobody measured it."""
    if "metrics.json" not in bundle.manifest.files:
        return None
    metrics: dict[str, Any] = json.loads(bundle.path("metrics.json").read_bytes())
    measured = metrics.get("precisions", {}).get(precision)
    if measured is None:
        return None
    lost = (float(metrics[kind]["AP"]) - float(measured[kind]["AP"]) for kind in ("box", "mask") if kind in metrics)
    return round(max(lost), _AP_DIGITS)
