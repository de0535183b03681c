"""
Real rollouts: a stable server that shadows a candidate, clients, a Prometheus, and `rcnn gate watch`, all processes.

One line of JSON a rollout is added to a file; rollouts that are in it are not run again, and one that was broken off is
taken up: its evidence is what Prometheus has counted of it since it began.
"""

import itertools
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.judge.proof.pairs import Release
from deploy.judge.proof.processes import RunningPrometheus, Samples, Server, free_port, total
from deploy.judge.proof.streams import IMAGES_A_MINUTE, arm

_PATIENCE = {"RCNN_ENGINE_THREADS": "1", "RCNN_DEFAULT_TIMEOUT_MS": "60000", "RCNN_LOG_LEVEL": "warning"}
_GATE = (sys.executable, "-c", "from service.cli import main; main()", "gate", "watch")
_EVERY_S, _LOOK = 5.0, re.compile(r"^(promote|rollback|undecided), ", re.M)


@dataclass(frozen=True)
class Job:
    """One rollout. least_pairs: the traffic goes on so long whatever the judge says, so that rivals see enough."""

    release: Release
    number: int
    least_pairs: int
    most_pairs: int

    @property
    def name(self) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", self.release.name.lower()).strip("-")
        return f"{words}-{self.number}"


class Stage:
    """A stable server, the address its candidates come to one after the other, and what scrapes it."""

    def __init__(self, stable: Path, images: Sequence[bytes], folder: Path) -> None:
        self._images, self._folder, self._stack = images, folder, ExitStack()
        self._candidate_port = free_port()
        shadow = {
            "RCNN_BUNDLES": str(stable),
            "RCNN_ENGINE": "onnx",
            "RCNN_RELEASE": "stable",
            "RCNN_SHADOW_URL": f"http://127.0.0.1:{self._candidate_port}",
            "RCNN_SHADOW_SHARE": "1",
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._stable = self._stack.enter_context(Server({**_PATIENCE, **shadow}, folder / "stable.log"))
        scraped = [self._stable.metrics_port]
        self._prometheus = self._stack.enter_context(RunningPrometheus(folder / "prometheus", scraped))

    def close(self) -> None:
        self._stack.close()

    def roll_out(self, job: Job) -> dict[str, Any]:
        """The candidate comes up, is shadowed until the judge has an answer, and goes."""
        settings = {f"RCNN_{name.upper()}": str(value) for name, value in job.release.settings}
        environment = {"RCNN_ENGINE": "onnx", **settings, "RCNN_BUNDLES": str(job.release.bundle)}
        if job.release.slower or job.release.error_rate:
            faults = {"slower": job.release.slower, "error_rate": job.release.error_rate}
            environment["PROOF_FAULTS"] = json.dumps(faults)
        log = self._folder / f"{job.name}.log"
        named = {**_PATIENCE, **environment, "RCNN_RELEASE": job.name}
        with Server(named, log, self._candidate_port) as candidate:
            return self._judged(job, candidate)

    def _judged(self, job: Job, candidate: Server) -> dict[str, Any]:
        start, out = self._start(job), self._folder / job.name
        asked = ["--prometheus", self._prometheus.url, "--candidate", job.name, "--since", str(start)]
        command = [*_GATE, *asked, "--every-s", str(_EVERY_S), "--horizon-minutes", "600", "--out", str(out)]
        with log_of(out).open("w") as log:
            judge = subprocess.Popen(command, stdout=log, stderr=log)
            rows = list(self._minutes(job, candidate, judge))
            judge.terminate()
            judge.wait()
        return {**_told(out, job), "minutes": rows}

    def _start(self, job: Job) -> float:
        """When the rollout began, seconds since the epoch, be it before it was broken off."""
        kept = self._folder / f"{job.name}.since"
        if not kept.exists():
            kept.write_text(str(time.time()))
        return float(kept.read_text())

    def _minutes(self, job: Job, candidate: Server, judge: "subprocess.Popen[bytes]") -> Iterator[dict[str, Any]]:
        """The metrics of both arms, each IMAGES_A_MINUTE images, until the judge has spoken or the pairs are up."""
        before = self._stable.samples(), candidate.samples()
        with httpx.Client(timeout=120) as client:
            for sent, image in enumerate(itertools.islice(_shuffled(self._images), job.most_pairs), 1):
                self._ask(client, image)
                if sent % IMAGES_A_MINUTE == 0:
                    after = self._settled(job, sent), candidate.samples()
                    yield _row(sent, before, after)
                    before = after
                    if judge.poll() is not None and sent >= job.least_pairs:
                        return
        time.sleep(1.5 * _EVERY_S)  # for the judge to see the last pairs

    def _ask(self, client: httpx.Client, image: bytes) -> None:
        """A client that rests longer than its answer took: the two servers work in turn, not against each other."""
        start = time.perf_counter()
        answer = client.post(f"{self._stable.url}/v1/detect", params={"masks": "rle"}, content=image)
        answer.raise_for_status()
        time.sleep(1.4 * (time.perf_counter() - start))

    def _settled(self, job: Job, sent: int) -> Samples:
        """The stable server's counters once the candidate has been asked everything."""
        while True:
            samples = self._stable.samples()
            if total(samples, "rcnn_shadow_pairs_total", candidate=job.name) >= sent - 1:
                return samples
            time.sleep(0.1)


def _row(sent: int, before: tuple[Samples, Samples], after: tuple[Samples, Samples]) -> dict[str, Any]:
    stable, new = (arm(*edges).row() for edges in zip(before, after, strict=True))
    return {"sent": sent, "stable": stable, "new": new}


def _shuffled(images: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from random.sample(images, len(images))


def log_of(out: Path) -> Path:
    return out.with_suffix(".judge")


def _told(out: Path, job: Job) -> dict[str, Any]:
    """What the judge said last: its verdict, or where it had none yet, undecided after so many looks."""
    record = {"release": job.release.name, "harmless": job.release.harmless, "number": job.number}
    looks = log_of(out).read_text()
    told = {"looks": len(_LOOK.findall(looks)), "decision": "undecided", "pairs": None, "seconds": None}
    if (out / "verdict.json").exists():
        verdict = json.loads((out / "verdict.json").read_text())
        subject = verdict["subject"]
        told |= {"decision": verdict["decision"], "reasons": verdict["reasons"], "pairs": subject.get("pairs")}
        told["seconds"] = round(subject["to"] - subject["from"], 1)
    return {**record, **told}


def run(stage: Stage, jobs: Sequence[Job], results: Path) -> None:
    """Those of jobs that results does not know yet, each added to it as it ends."""
    done = {(row["release"], row["number"]) for row in read(results)}
    for job in jobs:
        if (job.release.name, job.number) not in done:
            row = stage.roll_out(job)
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{job.name}: {row['decision']} after {row['pairs']} pairs, {row['seconds']} s", flush=True)


def read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
