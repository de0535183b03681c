"""The gate before any traffic: a new bundle against an old one on labelled images."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from deploy.judge.guards import State
from deploy.judge.side_by_side import Compared, ask_both, disagreements, outcomes, pace
from deploy.judge.verdict import Finding, Verdict, decide
from model.compare import Difference, compare
from model.datasets import CocoSplit
from model.evaluate import Evaluation, evaluate
from service.bundle import Bundle, read_bundle
from service.errors import BundleInvalid


@dataclass(frozen=True)
class Limits:
    """What a new bundle may cost."""

    ap_drop: float = 0.01  # AP lost, as a mean over classes
    slowdown: float = 1.2  # median work per image, new over old
    growth: float = 1.25  # bytes on disk, new over old
    timed_images: int = 60  # asked of both in turn


@dataclass(frozen=True)
class Judgement:
    """The verdict and what a report shows beside it."""

    verdict: Verdict
    differences: list[Difference]
    compared: list[Compared]


def judge_bundle(new: Path, old: Path, data: CocoSplit, engine: str, limits: Limits, progress: Progress) -> Judgement:
    """
    Whether new may take old's place. Raises BundleInvalid if old cannot be served: there is nothing to judge by then.

    DatasetInvalid is raised if old knows none of data's classes.
    """
    old_bundle = read_bundle(old)
    subject = {"old": _identity(old_bundle), "data": data.split, "dataset_fingerprint": data.fingerprint()}
    there = asyncio.run(evaluate(old_bundle.root, data, engine, progress))
    try:
        new_bundle = read_bundle(new)
        subject["new"] = _identity(new_bundle)
        losses = _losses(old_bundle, new_bundle)
        if losses:
            return Judgement(decide(subject, losses), [], [])
        here = asyncio.run(evaluate(new_bundle.root, data, engine, progress))
        images = [data.image_path(image) for image in data.images[: limits.timed_images]]
        compared = asyncio.run(ask_both(old_bundle.root, new_bundle.root, images, engine))
    except BundleInvalid as error:
        unserved = Finding("served", "worse", f"the new bundle cannot be served: {error}", {})
        return Judgement(decide(subject | {"new": str(new)}, [unserved]), [], [])
    differences = compare(here, there)
    findings = [
        *(_precision(row, limits.ap_drop) for row in differences if row.label == "all"),
        _latency(compared, here, limits.slowdown),
        _size(new_bundle, old_bundle, limits.growth),
        _agreement(compared),
    ]
    return Judgement(decide(subject, findings), differences, compared)


def _identity(bundle: Bundle) -> dict[str, str]:
    return {"name": bundle.id.name, "version": bundle.id.version, "digest": bundle.id.digest}


def _losses(old: Bundle, new: Bundle) -> list[Finding]:
    """What clients of old would look for in vain."""
    missing = [label for label in old.manifest.labels if label not in new.manifest.labels]
    found = []
    if missing:
        found.append(Finding("labels", "worse", f"the new bundle lacks {', '.join(missing)}", {"missing": missing}))
    if old.manifest.task != new.manifest.task:
        words = f"the task was {old.manifest.task} and would be {new.manifest.task}"
        found.append(Finding("task", "worse", words, {}))
    return found


def _precision(row: Difference, limit: float) -> Finding:
    """Fine once the whole 95 % interval is above what may be lost, worse once it is below."""
    state = _state(-row.high, -row.low, limit)
    words = (
        f"{row.kind} AP {row.here:.4f} against {row.there:.4f}, {row.change:+.4f} [{row.low:+.4f}, {row.high:+.4f}]; "
        f"a loss of {limit:g} is allowed"
    )
    figures = {"new": row.here, "old": row.there, "low": row.low, "high": row.high, "limit": limit}
    return Finding(f"{row.kind} AP", state, words, figures)


def _latency(compared: list[Compared], here: Evaluation, limit: float) -> Finding:
    found = pace(compared)
    words = (
        f"work per image {found.ratio:.2f} times the old bundle's [{found.low:.2f}, {found.high:.2f}] on engine "
        f"{here.metrics['engine']}; {limit:g} is allowed"
    )
    figures = {"ratio": found.ratio, "low": found.low, "high": found.high, "limit": limit, "images": len(compared)}
    return Finding("latency", _state(found.low, found.high, limit), words, figures)


def _size(new: Bundle, old: Bundle, limit: float) -> Finding:
    size = _megabytes(new)
    ratio = size / _megabytes(old)
    state: State = "worse" if ratio > limit else "fine"
    words = f"{size:.1f} MB, {ratio:.2f} times the old bundle's; {limit:g} is allowed"
    return Finding("size", state, words, {"ratio": ratio, "limit": limit})


def _agreement(compared: list[Compared]) -> Finding:
    """Told, not judged: with labels at hand it is AP that tells better from worse."""
    shares = disagreements(compared)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(outcomes(compared).items()))
    lone = f"{np.mean(shares):.1%} of the objects of an image have no partner that agrees"
    words = f"told, not judged: on average {lone} ({counts} images)"
    return Finding("agreement", "fine", words, {"disagreement": float(np.mean(shares)), "images": outcomes(compared)})


def _state(low: float, high: float, limit: float) -> State:
    """A cost that lies between low and high, against what is allowed."""
    return "fine" if high <= limit else "worse" if low > limit else "open"


def _megabytes(bundle: Bundle) -> float:
    """Without the example images."""
    served = [name for name in bundle.manifest.files if not name.startswith("golden/")]
    return sum(bundle.path(name).stat().st_size for name in served) / 1e6
