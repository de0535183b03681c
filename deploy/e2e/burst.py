"""A second release beside the canary's: scaled by its autoscaler, upgraded and rolled back pod by pod."""

import json
from pathlib import Path

from deploy.e2e.engines import CHART, GATEWAY, VALUES, image_values
from deploy.e2e.kubernetes import helm, wait_for
from deploy.e2e.story import Stage, answers, full, scaling
from deploy.e2e.timeline import Timeline
from deploy.e2e.traffic import Traffic

NAME, HOST = "burst", "burst.e2e"
CALM_PER_S, BURST_PER_S = 1.0, 28.0
"""One pod answers 20 a second (values/burst.yaml). In the calm two pods must be idle most of the time: a batch under
way is half the target, however small it is."""
TARGET_MILLI = 800


def install(timeline: Timeline, image: str, folder: Path) -> None:
    with timeline.act("install what is scaled") as act:
        file = folder / "values-burst.json"
        file.write_text(json.dumps(image_values(image)))
        helm("install", NAME, str(CHART), f"--values={VALUES / 'burst.yaml'}", f"--values={file}")
        act.facts["ready after, s"] = round(wait_for("it to answer", lambda: answers(GATEWAY, HOST), 240))


def scale(stage: Stage, timeline: Timeline, traffic: Traffic) -> None:
    """1 -> N -> 1 by the controller itself, on queued work."""
    with timeline.act("burst of traffic") as act:
        traffic.change_rate(BURST_PER_S)
        act.facts["second pod ready after, s"] = round(wait_for("a second pod", full(stage, NAME, 2), 180))
        act.facts["queue short again, s"] = round(wait_for("a short queue", lambda: _is_queue_short(stage), 180))
        act.facts["pods"] = _pods(stage)
    with timeline.act("calm again") as act:
        traffic.change_rate(CALM_PER_S)
        act.facts["one pod after, s"] = round(wait_for("a single pod", lambda: _pods(stage) == 1, 480))


def upgrade_and_roll_back(timeline: Timeline) -> None:
    changed = ("upgrade", NAME, str(CHART), "--reuse-values", "--set=settings.logLevel=warning")
    for name, arguments in (("chart upgraded", changed), ("chart rolled back", ("rollback", NAME))):
        with timeline.act(name):
            helm(*arguments, "--wait", "--timeout=240s")


def _pods(stage: Stage) -> int:
    """Ready or not: of those that are there too many may miss a probe on a busy machine."""
    return sum("deletionTimestamp" not in pod["metadata"] for pod in stage.api.pods(NAME))


def _is_queue_short(stage: Stage) -> bool:
    _, milli = scaling(stage.api)
    return milli is not None and milli < TARGET_MILLI
