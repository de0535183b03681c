"""
A release's whole life on the cluster of `deploy.cluster`, under load: `make e2e`.

    python -m deploy.cluster run -- python -m deploy.e2e localhost/rcnn@sha256:...

Exit code 0: every act passed, and no request was failed by the machinery.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import httpx
import typer

from deploy.e2e import burst, releases, story
from deploy.e2e.engines import GATEWAY, Argo, ArgoPods, Engine, Flagger, image_values
from deploy.e2e.kubernetes import NAMESPACE, Unexpected, apply, kubectl, open_api, require_image
from deploy.e2e.plain import Plain
from deploy.e2e.releases import Values
from deploy.e2e.report import tell
from deploy.e2e.story import Stage
from deploy.e2e.timeline import Timeline
from deploy.e2e.traffic import Traffic
from loadtests.driver import Target
from loadtests.pictures import Picture

ENGINES: dict[str, Callable[[Path, str], Engine]] = {"argo": Argo, "pods": ArgoPods, "flagger": Flagger, "plain": Plain}
TWO_CORES_PER_S = {"onnx": 1.2, "fake": 3.0}
"""By the engine inside. Each request is answered twice, the second time in the shadow, and there is more to compute."""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def main(
    image: Annotated[
        str, typer.Argument(help="repository@sha256:... or repository:tag, as `deploy.cluster load` printed it.")
    ],
    engine: Annotated[
        Literal["argo", "pods", "flagger", "plain"], typer.Option(help="Who moves the weights.")
    ] = "argo",
    inside: Annotated[Literal["onnx", "fake"], typer.Option(help="The engine in the pods.")] = "onnx",
    per_s: Annotated[
        float, typer.Option(help="Requests a second on the canary's release; 0: what two cores can do.")
    ] = 0.0,
    bundles: Annotated[Path, typer.Option(help="Folder that gets the models.")] = Path("e2e-results/bundles"),
    url: Annotated[str, typer.Option(help="Where callers of the canary's release go, where there is no proxy.")] = "",
    out: Annotated[Path, typer.Option(help="Folder that gets timeline.json and timeline.png.")] = Path("e2e-results"),
    part: Annotated[Literal["all", "canary", "scaling"], typer.Option(help="Which acts.")] = "all",
) -> None:
    """Play the story and say how it went."""
    _require_image(image)
    out.mkdir(parents=True, exist_ok=True)
    root, (small, large) = bundles.resolve(), releases.small_and_large_pictures()
    releases.make_bundles(root)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    kubectl("delete", "persistentvolume", releases.CLAIM, "--ignore-not-found")
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    apply(*releases.claim_objects(root))
    chosen = ENGINES[engine](out, inside)
    chosen.url, per_s = url or chosen.url, per_s or TWO_CORES_PER_S[inside]
    streams = {
        "main": _stream(chosen.url, chosen.host, small, per_s, out / "requests-main.jsonl", large),
        "burst": _stream(GATEWAY, burst.HOST, small, burst.CALM_PER_S, out / "requests-burst.jsonl"),
    }
    with open_api() as api:
        stage = Stage(api, chosen, {**image_values(image), **a_story_of_its_own()})
        timeline = Timeline(stage.look)
        problem = _play(stage, timeline, streams, (part, inside, image), out)
    is_clean = tell(timeline, {name: each.asked for name, each in streams.items()}, stage.erring, problem, out)
    raise typer.Exit(0 if is_clean and not problem else 1)


def _require_image(image: str) -> None:
    try:
        with open_api() as api:
            require_image(api, image)
    except Unexpected as error:
        raise typer.BadParameter(str(error), param_hint="IMAGE") from None


def a_story_of_its_own() -> Values:
    """So that releases have names that none had in a story before: counts under one name are taken for one's."""
    return {"podLabels": {"rcnn/story": str(int(time.time()))}}


def _stream(
    url: str, host: str, pictures: list[Picture], per_s: float, file: Path, large: Sequence[Picture] = ()
) -> Traffic:
    target = Target(url, headers=[("Host", host)], timeout_s=30, deadline_ms=20_000)
    return Traffic(host, target, pictures, per_s, file, large)


def _play(stage: Stage, timeline: Timeline, streams: dict[str, Traffic], told: tuple[str, str, str], out: Path) -> str:
    """Why the story ended early; "" if it did not. told: which part, the engine in the pods, their image."""
    part, inside, image = told
    try:
        with timeline:
            if part != "scaling":
                story.install(stage, timeline)
                with streams["main"]:
                    story.canaries(stage, timeline, inside)
                    if stage.engine.asks_first:
                        story.err_later(stage, timeline, streams["main"])
                    story.kill_pod(stage, timeline)
                    story.drain(stage, timeline)
            if part != "canary":
                burst.install(timeline, image, out)
                with streams["burst"]:
                    burst.scale(stage, timeline, streams["burst"])
                    burst.upgrade_and_roll_back(timeline)
    except (Unexpected, RuntimeError, httpx.HTTPError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    typer.run(main)
