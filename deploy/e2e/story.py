"""The story, act by act. What fails raises Unexpected; the load never stops in between."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from deploy.e2e import releases
from deploy.e2e.engines import NAME, Engine, release_of
from deploy.e2e.kubernetes import Api, Unexpected, is_ready, kubectl, wait_for
from deploy.e2e.releases import Candidate, Values, merged
from deploy.e2e.timeline import Act, Sample, Timeline
from deploy.e2e.traffic import Traffic

START_S, DECIDE_S = 240.0, 420.0
JUDGE_S = 20.0
"""The judge asks Prometheus anew for each answer, with what processor time a busy machine leaves it."""


@dataclass
class Stage:
    """What all acts share. changes: those that have become stable. candidate: the name of the one on its way."""

    api: Api
    engine: Engine
    changes: Values
    candidate: str = ""
    erring: set[str] = field(default_factory=set)
    _verdict: str = ""
    _asked_at: float = 0.0

    def look(self) -> Sample:
        progress = self.engine.progress(self.api)
        pods: dict[str, int] = {}
        for pod in self.api.pods(NAME):
            if is_ready(pod):
                pods[release_of(pod["spec"])] = pods.get(release_of(pod["spec"]), 0) + 1
        return Sample(time.time(), progress.weight, progress.phase, pods, self._judged(), *scaling(self.api))

    def has_weight(self) -> bool:
        return self.engine.progress(self.api).weight > 0

    def is_steady_without(self, release: str) -> bool:
        """Its pods may outlive the decision by half a minute."""
        is_gone = all(release_of(pod["spec"]) != release for pod in self.api.pods(NAME))
        return is_gone and self.engine.progress(self.api).phase == "steady"

    def _judged(self) -> str:
        """The judge is asked every few seconds: it has little processor time."""
        if not self.candidate:
            return ""
        if time.time() - self._asked_at > 5:
            self._verdict = verdict_on(self.candidate).decision
            self._asked_at = time.time()
        return self._verdict


@dataclass(frozen=True)
class Judged:
    """worse: the guards that hold against the candidate. Empty where the judge does not answer."""

    decision: str = ""
    worse: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def verdict_on(candidate: str) -> Judged:
    """What the judge says now."""
    try:
        url = f"http://{NAME}-judge.e2e:8010/verdict?candidate={candidate}"
        answer = httpx.get(url, timeout=JUDGE_S, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return Judged()
    worse = tuple(str(one["name"]) for one in answer["findings"] if one["state"] == "worse")
    return Judged(str(answer["decision"]), worse, tuple(map(str, answer["reasons"])))


def scaling(api: Api) -> tuple[int, int | None]:
    """Replicas wanted by the autoscaler, and the signal's mean that it saw, in thousandths."""
    status = api.of("autoscaling/v2", "horizontalpodautoscalers", "burst").get("status", {})
    metrics = status.get("currentMetrics") or [{}]
    value = metrics[0].get("pods", {}).get("current", {}).get("averageValue")
    milli = None if value is None else int(value[:-1]) if value.endswith("m") else int(float(value) * 1000)
    return int(status.get("desiredReplicas", 0)), milli


def install(stage: Stage, timeline: Timeline) -> None:
    with timeline.act("install") as act:
        stage.engine.install(stage.changes)
        seconds = wait_for(
            "the first release",
            lambda: answers(stage.engine.url, stage.engine.host),
            START_S,
            lambda: _pods_seen(stage),
        )
        act.facts["ready after, s"] = round(seconds)
        wait_for("the engine to know it", lambda: stage.engine.progress(stage.api).phase == "steady", START_S)


def canaries(stage: Stage, timeline: Timeline, inside: str) -> None:
    """inside: the engine in the pods."""
    promote(stage, timeline, releases.GOOD)
    for candidate in (releases.SLOW[inside], releases.ERRING, releases.CHANGED):
        roll_back(stage, timeline, candidate)


def promote(stage: Stage, timeline: Timeline, candidate: Candidate) -> None:
    """A good release gets all traffic by itself."""
    with timeline.act(f"{candidate.name} candidate") as act:
        changes = _begin(stage, candidate, act)
        phase = _decided(stage)
        act.facts["verdict"] = verdict_on(stage.candidate).reasons
        if phase != "steady":
            raise Unexpected(f"a good candidate should be promoted, and was {phase}: {act.facts['verdict']}")
        if not any(sample.weight for sample in timeline.between(act.began, time.time())):
            raise Unexpected("a candidate was promoted that nobody ever saw a weight of")
        stage.engine.settle()
        stage.changes, stage.candidate = changes, ""


def err_later(stage: Stage, timeline: Timeline, traffic: Traffic) -> None:
    """A candidate that errs on large images, which nobody sends before it has a weight."""

    def spoil() -> None:
        wait_for("a weight", stage.has_weight, DECIDE_S, lambda: verdict_on(stage.candidate))
        traffic.send_large()

    traffic.hold_back_large()

    roll_back(stage, timeline, releases.ERRING_LATER, spoil)


def roll_back(
    stage: Stage, timeline: Timeline, candidate: Candidate, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """
    A bad release loses all traffic by itself; then what is asked for becomes again what runs.

    meanwhile: what happens once the candidate is on its way.
    """
    with timeline.act(f"{candidate.name} candidate") as act:
        _begin(stage, candidate, act)
        if candidate.reason == "errors":
            stage.erring.add(stage.candidate)
        meanwhile()
        phase = _decided(stage)
        wait_for("the judge's reasons", lambda: bool(verdict_on(stage.candidate).worse), START_S)
        judged = verdict_on(stage.candidate)
        act.facts["verdict"] = judged.reasons
        if phase != "rolled back":
            raise Unexpected(f"a {candidate.name} candidate should be rolled back, and is {phase}: {judged}")
        if candidate.reason not in judged.worse:
            raise Unexpected(f"expected to be rolled back for {candidate.reason}, but: {judged}")
        wait_for("no traffic", lambda: not stage.has_weight(), 30)
        bad, stage.candidate = stage.candidate, ""
        stage.engine.put_right()
        wait_for("the stable release alone", lambda: stage.is_steady_without(bad), START_S, lambda: _pods_seen(stage))


def _begin(stage: Stage, candidate: Candidate, act: Act) -> Values:
    changes = merged(stage.changes, candidate.changes)
    before = stage.engine.candidate(stage.api)
    stage.engine.release(changes)
    wait_for("the candidate's name", lambda: stage.engine.candidate(stage.api) != before, 30)
    stage.candidate = stage.engine.candidate(stage.api)
    act.facts["release"] = stage.candidate
    wait_for("a rollout", lambda: stage.engine.progress(stage.api).phase == "moving", 60)
    return changes


def _decided(stage: Stage) -> str:
    wait_for(
        "a decision",
        lambda: stage.engine.progress(stage.api).phase != "moving",
        DECIDE_S,
        lambda: (stage.engine.progress(stage.api), verdict_on(stage.candidate), _pods_seen(stage)),
    )
    return stage.engine.progress(stage.api).phase


def answers(url: str, host: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", headers={"Host": host}, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _pods_seen(stage: Stage) -> list[str]:
    return [f"{pod['metadata']['name']} {pod['status'].get('phase')}" for pod in stage.api.pods(NAME)]


def kill_pod(stage: Stage, timeline: Timeline) -> None:
    with timeline.act("pod deleted") as act:
        pods = [pod["metadata"]["name"] for pod in stage.api.pods(NAME) if is_ready(pod)]
        kubectl("delete", "pod", pods[0], "--wait=false")
        act.facts["pod"] = pods[0]
        act.facts["replaced after, s"] = round(
            wait_for("its successor", full(stage, NAME, len(pods), pods[0]), START_S)
        )


def drain(stage: Stage, timeline: Timeline) -> None:
    """There is one node: the disruption budget holds some pods back, and it takes pods again before all have left."""
    with timeline.act("node drained") as act:
        before = {pod["metadata"]["name"] for pod in stage.api.pods(NAME) if is_ready(pod)}
        kubectl("cordon", "node1")
        evicted = []
        try:
            for name in sorted(before):
                evicted.append(_evict(name))
        finally:
            kubectl("uncordon", "node1")
        act.facts["evictions"] = evicted
        act.facts["full again after, s"] = round(wait_for("two pods", full(stage, NAME, len(before)), START_S))


def _evict(name: str) -> str:
    """Ask for a pod's eviction: allowed, or refused by the disruption budget."""
    eviction = f'{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{name}","namespace":"e2e"}}}}'
    path = f"/api/v1/namespaces/e2e/pods/{name}/eviction"
    try:
        kubectl("create", f"--raw={path}", "--filename=-", given=eviction)
    except Unexpected as refused:
        if "disruption budget" not in str(refused):
            raise
        return "held back"
    return "allowed"


def full(stage: Stage, release: str, pods: int, without: str = "") -> Callable[[], bool]:
    def holds() -> bool:
        ready = [pod["metadata"]["name"] for pod in stage.api.pods(release) if is_ready(pod)]
        return len(ready) >= pods and without not in ready

    return holds
