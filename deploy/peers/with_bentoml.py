"""BentoML: a batchable method over a list, in the service's one worker. Started by `bentoml serve`."""

import base64
from typing import Any

import bentoml

from deploy.peers.detecting import Detector
from loadtests.peers.job import from_environment

JOB = from_environment()


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Detect:
    def __init__(self) -> None:
        self._detector = Detector(JOB)

    @bentoml.api(batchable=True, max_batch_size=JOB.max_batch_size, max_latency_ms=5_000)
    def detect(self, images: list[str]) -> list[dict[str, Any]]:
        answers = self._detector.answers([base64.b64decode(image) for image in images])
        return [dict(answer) for answer in answers]  # a type that pydantic takes on every Python
