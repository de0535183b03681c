"""Mask probabilities to run lengths."""

from statistics import median

from loadtests import plot
from loadtests.bench.figures import Figure, Plan, Result
from loadtests.bench.inside import measured, ratios

TITLE = "masks: a hundred at 1080p to run lengths, one thread"
OURS, THEIRS = "ours", "torchvision and pycocotools"
MOST_MS, MOST_ADDED_MB = 6.0, 64.0


def measure(plan: Plan) -> Result:
    """Boxes of 40 to 160 pixels a side; processor time, because one thread is what is asked about."""
    found = measured("masks", "--rounds", str(plan.rounds))
    seconds = found["seconds"]
    middle, least, most = ratios(seconds[THEIRS], seconds[OURS])
    ours_ms, theirs_ms = median(seconds[OURS]) * 1e3, median(seconds[THEIRS]) * 1e3
    return Result(
        [
            Figure("100 masks", ours_ms, "ms", at_most=MOST_MS),
            Figure("100 masks, the first after theirs", median(found["first_s"]) * 1e3, "ms"),
            Figure("100 masks by torchvision and pycocotools", theirs_ms, "ms"),
            Figure("times as fast", middle, f"({least:.0f} to {most:.0f})"),
            Figure("strings equal to theirs", float(found["equal"]), at_least=1),
            Figure("peak memory added by 300 masks", found["added_mb"], "MB", at_most=MOST_ADDED_MB),
        ],
        plots={"masks": plot.bar_figure("100 masks at 1080p", [(OURS, ours_ms), (THEIRS, theirs_ms)], "ms")},
    )
