"""`python -m deploy.judge.proof FOLDER`: the judge on simulated and on real pairs, beside three rival rules."""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from deploy.judge.proof import rivals
from deploy.judge.proof.pairs import Pairs, collected
from deploy.judge.proof.releases import of_blood_cells, of_nuclei
from deploy.judge.proof.rollouts import at_the_margin, chances_of, ever_rolled_back, roll_out
from deploy.judge.shadow_gate import Policy
from model.datasets import CocoSplit, read_dataset
from service.logs import configure_logs
from service.settings import ZOO

ROLLOUTS, HORIZON, STEP, PER_MINUTE = 300, 6000, 10, 60
SIMULATED = 10_000
_RIVAL_ROLLOUTS, _RIVAL_MINUTES = 200, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with bccd/ and nuclei/, as docs/zoo.md describes it")
    parser.add_argument("--images", type=int, default=24, help="real images each release is tried on")
    parser.add_argument("--out", type=Path, help="file for the tables, in Markdown; stdout if left out")
    arguments = parser.parse_args()
    configure_logs("warning", "console")
    found = real_pairs(arguments.data, arguments.images)
    text = "\n".join([*null_table(found), "", *release_table(found)])
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)


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
    twin = next(pairs for pairs in found if pairs.release.name == "stable's twin")
    rows = [("stable against its twin", chances_of(twin, policy)), ("every mean at its margin", at_the_margin(policy))]
    lines = ["| release | rollouts | looks in each | rolled back at any look |", "|---|---|---|---|"]
    for name, chances in rows:
        share = ever_rolled_back(chances, policy, SIMULATED, HORIZON, STEP)
        lines.append(f"| {name} | {SIMULATED} | {HORIZON // STEP} | {share:.2%} |")
    print(f"simulated in {time.perf_counter() - start:.0f} s")
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
    spoken = roll_out(chances_of(pairs, Policy()), Policy(), ROLLOUTS, HORIZON, STEP)
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
