"""
Does `deploy.simulate.hpa` decide as Kubernetes' own controller does? Both are asked about the same pods.

    python -m deploy.simulate.compare --binaries FOLDER --minutes 5

The binaries are those of `deploy.cluster build etcd kubernetes`. Several autoscalers with rules of their own each see
pods whose metric wanders, of which some have no value and some are pending; what the controller did is compared with
what the simulated one says for the moment and the values at which the controller asked.
"""

import random
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.simulate.control_plane import ControlPlane, running
from deploy.simulate.custom_metrics import METRIC, served
from deploy.simulate.hpa import Controller, Policy, Reading, Rules, Spec

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
SYNC_S = 3.0
SETTLE_S = 1.0
TARGET_MILLI = 200
UNHURRIED = (Policy("Percent", 900, 1),)
CASES = {
    "at-once": Spec(1, 30, Rules(0, UNHURRIED), Rules(0, (Policy("Percent", 100, 1),))),
    "chart": Spec(
        2, 12, Rules(0, (Policy("Percent", 100, 6), Policy("Pods", 1, 6))), Rules(20, (Policy("Pods", 1, 8),))
    ),
    "gentle": Spec(
        1,
        20,
        Rules(6, (Policy("Percent", 50, 10), Policy("Pods", 2, 10)), "Min"),
        Rules(10, (Policy("Percent", 30, 12),)),
    ),
    "two-down": Spec(
        1, 20, Rules(0, (Policy("Pods", 3, 8),)), Rules(6, (Policy("Pods", 2, 10), Policy("Percent", 20, 10)))
    ),
}


@dataclass
class World:
    """The pods of one autoscaler: {name: thousandths, None without a value}, and those that are pending."""

    name: str
    replicas: int = 2
    level_milli: float = TARGET_MILLI
    values: dict[str, int | None] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    asked: threading.Event = field(default_factory=threading.Event)
    asked_at: float = 0.0
    moving: threading.Lock = field(default_factory=threading.Lock)
    _count: int = 0

    def answer(self) -> Mapping[str, int]:
        """What the controller is told, not while pods move. It lists the pods after it has been told."""
        with self.moving:
            self.asked_at = time.monotonic()
            self.asked.set()
            return self._told()

    def _told(self) -> Mapping[str, int]:
        return {pod: milli for pod, milli in self.values.items() if milli is not None and pod not in self.pending}

    def reading(self) -> Reading:
        told = self._told()
        missing = sum(1 for pod in self.values if pod not in told and pod not in self.pending)
        return Reading(list(told.values()), TARGET_MILLI, missing, len(self.pending))

    def wander(self, chance: random.Random) -> None:
        """A new level now and then, values around it, a few pods without one, a few of the youngest pending."""
        if chance.random() < 0.3:
            self.level_milli = TARGET_MILLI * chance.choice((0, 0.3, 0.7, 0.88, 0.95, 1, 1.05, 1.12, 1.5, 2.5, 6))
        names = list(self.values)[: self.replicas]
        while len(names) < self.replicas:
            self._count += 1
            names.append(f"{self.name}-{self._count}")
        self.values = {name: round(self.level_milli * chance.uniform(0.8, 1.2)) for name in names}
        for name in names:
            if chance.random() < 0.1:
                self.values[name] = None
        self.pending = {name for name in names[-2:] if chance.random() < 0.25}


def main(
    binaries: Annotated[list[Path], typer.Option(help="Folders with etcd, kube-apiserver, kube-controller-manager.")],
    minutes: Annotated[float, typer.Option(help="How long.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Of the wandering.")] = 0,
) -> None:
    """Exit code 0 if every decision is the same."""
    worlds = {name: World(name) for name in CASES}
    decided: dict[str, list[tuple[int, int, int]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as written:
        folder = Path(written)
        tools = _gathered(binaries, folder)
        with running(tools, folder, SYNC_S) as plane, served(plane, folder, lambda name: worlds[name].answer()):
            threads = [
                threading.Thread(
                    target=_walk, args=(plane, worlds[name], minutes * 60, random.Random(seed), decided[name])
                )
                for name in CASES
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    raise typer.Exit(_say(decided))


def _gathered(binaries: list[Path], folder: Path) -> Path:
    tools = folder / "bin"
    tools.mkdir()
    for name in PROGRAMS:
        (found,) = [each / name for each in binaries if (each / name).exists()]
        (tools / name).symlink_to(found.resolve())
    return tools


def _walk(
    plane: ControlPlane, world: World, seconds: float, chance: random.Random, decided: list[tuple[int, int, int]]
) -> None:
    """(replicas before, the controller's, ours) for each sync."""
    simulated = Controller(CASES[world.name])
    world.wander(chance)
    _create(plane, world, CASES[world.name])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not world.asked.wait(60):
            raise RuntimeError(f"the controller has not asked for {world.name} for a minute")
        before, at, reading = world.replicas, world.asked_at, world.reading()
        time.sleep(SETTLE_S)  # it decides right after it has asked
        scale = plane.get(f"/apis/apps/v1/namespaces/{world.name}/deployments/{world.name}/scale")
        world.replicas = int(scale["spec"]["replicas"])
        decided.append((before, world.replicas, simulated.decide(at, before, [reading])))
        with world.moving:
            world.asked.clear()
            pods = set(world.values)
            world.wander(chance)
            _move_pods(plane, world, pods)
            time.sleep(SETTLE_S)  # the controller's own picture of the pods follows a moment later


def _create(plane: ControlPlane, world: World, spec: Spec) -> None:
    name = world.name
    labels = {"app": name}
    container = {"name": "c", "image": "none"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {"replicas": world.replicas, "selector": {"matchLabels": labels}, "template": template}
    plane.apply("/api/v1/namespaces", {"metadata": {"name": name}})
    plane.apply(f"/apis/apps/v1/namespaces/{name}/deployments", {"metadata": {"name": name}, "spec": deployment})
    _move_pods(plane, world, set())
    metric = {"metric": {"name": METRIC}, "target": {"type": "AverageValue", "averageValue": f"{TARGET_MILLI}m"}}
    scaler = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": spec.least,
        "maxReplicas": spec.most,
        "metrics": [{"type": "Pods", "pods": metric}],
        "behavior": {"scaleUp": _rules(spec.up), "scaleDown": _rules(spec.down)},
    }
    path = f"/apis/autoscaling/v2/namespaces/{name}/horizontalpodautoscalers"
    plane.apply(path, {"metadata": {"name": name}, "spec": scaler})


def _rules(rules: Rules) -> dict[str, Any]:
    policies = [{"type": one.kind, "value": one.value, "periodSeconds": int(one.period_s)} for one in rules.policies]
    return {"stabilizationWindowSeconds": int(rules.window_s), "selectPolicy": rules.select, "policies": policies}


def _move_pods(plane: ControlPlane, world: World, before: set[str]) -> None:
    """Pods as the world has them, in the state it has them in."""
    root = f"/api/v1/namespaces/{world.name}/pods"
    for pod in before - set(world.values):
        plane.client.delete(f"{root}/{pod}", params={"gracePeriodSeconds": 0}).raise_for_status()
    for pod in world.values:
        if pod not in before:
            spec = {"containers": [{"name": "c", "image": "none"}]}
            plane.apply(root, {"metadata": {"name": pod, "labels": {"app": world.name}}, "spec": spec})
        phase = "Pending" if pod in world.pending else "Running"
        plane.patch(f"{root}/{pod}/status", {"status": {"phase": phase}})


def _say(decided: Mapping[str, list[tuple[int, int, int]]]) -> int:
    different = 0
    for name, rows in decided.items():
        wrong = [row for row in rows if row[1] != row[2]]
        changes = sum(before != theirs for before, theirs, _ in rows)
        typer.echo(f"{name}: {len(rows)} decisions, {changes} of them changes, {len(wrong)} different {wrong[:5]}")
        different += len(wrong)
    return 1 if different or not all(decided.values()) else 0


if __name__ == "__main__":
    typer.run(main)
