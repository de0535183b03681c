"""`python -m deploy.judge.proof FOLDER`: the judge on simulated and on real pairs, beside three rival rules."""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.judge.proof import rivals
from deploy.judge.proof.harms import WEIGHTS, WINDOWS_EACH, arms_ever_worse, arms_minutes, tail_ever_worse
from deploy.judge.proof.pairs import Pairs, collected
from deploy.judge.proof.releases import of_blood_cells, of_nuclei
from deploy.judge.proof.rollouts import at_the_margin, chances_of, ever_rolled_back, roll_out, tail_chances
from deploy.judge.shadow_gate import Policy
from model.datasets import CocoSplit, read_dataset
from service.logs import configure_logs
from service.settings import ZOO

ROLLOUTS, HORIZON, STEP, PER_MINUTE = 300, 6000, 10, 60
SIMULATED = 10_000
_LIMIT = 0.0125, 0.01  # rates of errors: 1.25 times the others'
_RIVAL_ROLLOUTS, _RIVAL_MINUTES = 200, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with bccd/ and nuclei/, as docs/zoo.md describes it")
    parser.add_argument("--images", type=int, default=24, help="real images each release is tried on")
    parser.add_argument("--out", type=Path, help="file that keeps the tables; where it is there, it is printed")
    arguments = parser.parse_args()
    configure_logs("warning", "console")
    out: Path | None = arguments.out
    print(out.read_text() if out and out.exists() else _kept(out, _tables(arguments.data, arguments.images)))


def _kept(out: Path | None, text: str) -> str:
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
    return text


def _tables(data: Path, images: int) -> str:
    found = real_pairs(data, images)
    return "\n".join([*null_table(found), "", *split_table(), "", *release_table(found), ""])


def real_pairs(data: Path, images: int) -> list[Pairs]:
    cells = _first(read_dataset(data / "bccd", "val"), images)
    nuclei = _first(read_dataset(data / "nuclei", "val"), max(10, images // 3))
    with tempfile.TemporaryDirectory() as out:
        stable, segmenting = ZOO / "blood-cells", ZOO / "nuclei"
        of_cells = collected(stable, of_blood_cells(stable, Path(out)), cells)
        return of_cells + collected(segmenting, of_nuclei(segmenting, Path(out)), nuclei)


def _first(data: CocoSplit, images: int) -> CocoSplit:
    return dataclasses.replace(data, images=data.images[:images])


def null_table(found: list[Pairs]) -> list[str]:
    """How often releases that are not worse are rolled back, were every look allowed to."""
    policy, start = Policy(), time.perf_counter()
    lines = ["| release | rollouts | looks in each | rolled back at any look |", "|---|---|---|---|"]
    for name, looks, hits in [*_of_pairs(found, policy), *_of_arms(policy)]:
        lines.append(f"| {name} | {SIMULATED} | {looks} | {hits.mean():.2%} |")
    print(f"simulated in {time.perf_counter() - start:.0f} s")
    return lines


def _of_pairs(found: list[Pairs], policy: Policy) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
    times, looks = (SIMULATED, HORIZON, STEP), HORIZON // STEP
    twin = next(pairs for pairs in found if pairs.release.name == "stable's twin")
    yield "stable against its twin", looks, ever_rolled_back(chances_of(twin, policy), policy, *times)
    everything = ever_rolled_back(at_the_margin(policy), policy, *times)
    yield "every mean exactly what is tolerated", looks, everything
    tail, arms = tail_ever_worse(policy, *times), arms_ever_worse(*_LIMIT, policy, SIMULATED)
    yield "slow tail exactly at both of its limits", looks, tail
    yield "all of these and split errors at their limit, in one rollout", looks, everything | tail | arms


def _of_arms(policy: Policy) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
    """Errors of split traffic, at 5, 25 and 50 % for the candidate in turn."""
    for own, other in ((0.001, 0.001), (0.05, 0.05), (0.001, 0.0)):
        name = f"split traffic, {own:.3%} of the candidate's requests fail and {other:.3%} of the others'"
        yield name, len(WEIGHTS) * WINDOWS_EACH, arms_ever_worse(own, other, policy, SIMULATED)


def split_table() -> list[str]:
    """How soon errors of split traffic alone roll a bad release back."""
    lines = ["| its requests that fail | the others' | rolled back | median minutes |", "|---|---|---|---|"]
    for own, other in ((0.01, 0.001), (0.005, 0.0), (0.1, 0.05), (0.02, 0.01)):
        taken = arms_minutes(own, other, Policy(), ROLLOUTS)
        lines.append(f"| {own:.1%} | {other:.1%} | {np.isfinite(taken).mean():.0%} | {np.median(taken):.0f} |")
    return lines


def release_table(found: list[Pairs]) -> list[str]:
    """Every release on ROLLOUTS streams drawn from its real pairs, and what the rivals say of it."""
    head = ["release", "AP", "disagree", "pace", "promoted", "rolled back", "undecided", "median pairs"]
    head += ["Argo", "Flagger", "Kayenta"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for pairs in sorted(found, key=lambda pairs: pairs.release.harmless):
        lines.append(f"| {' | '.join(_row(pairs))} |")
    return lines


def _row(pairs: Pairs) -> list[str]:
    policy = Policy()
    spoken = roll_out(chances_of(pairs, policy), policy, ROLLOUTS, HORIZON, STEP, tail_chances(pairs, policy))
    seen = rivals.minutes(pairs, _RIVAL_ROLLOUTS, _RIVAL_MINUTES, PER_MINUTE)
    median = spoken.median_pairs(1 if pairs.release.harmless else -1)
    kind = "harmless" if pairs.release.harmless else "bad"
    return [
        f"{pairs.release.name} ({kind})",
        f"{pairs.ap_change:+.3f}",
        f"{pairs.disagreement.mean():.3f}",
        f"{np.median(pairs.slowdown):.2f}",
        *(f"{spoken.share(decision):.1%}" for decision in (1, -1, 0)),
        "–" if median is None else str(median),
        *(f"{rule(seen).mean():.0%}" for rule in (rivals.argo, rivals.flagger, rivals.kayenta)),
    ]


if __name__ == "__main__":
    main()
