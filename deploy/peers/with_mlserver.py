"""
MLServer: a model whose batches are encoded images in one BYTES tensor, so that images of any size share a shape.

Its batcher runs batches at the same time, so the engine has a thread of its own in which they take turns.
"""

import asyncio
import base64
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from deploy.peers.detecting import Detector
from loadtests.peers.job import Job, from_environment


class Detect(MLModel):
    async def load(self) -> bool:
        self._detector, self._thread = Detector(from_environment()), ThreadPoolExecutor(1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data
        texts = getattr(data, "root", data)
        answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._answers, texts)
        output = ResponseOutput(name="answer", datatype="BYTES", shape=[len(answers), 1], data=answers)
        return InferenceResponse(model_name=self.name, outputs=[output])

    def _answers(self, texts: list[str]) -> list[str]:
        answers = self._detector.answers([base64.b64decode(text) for text in texts])
        return [orjson.dumps(answer).decode() for answer in answers]


def write_settings(job: Job, folder: Path) -> None:
    """The two files that `mlserver start` reads."""
    server = {
        "host": "127.0.0.1",
        "http_port": job.port,
        "grpc_port": 0,
        "metrics_endpoint": None,
        "debug": False,
        "gzip_enabled": False,
        "parallel_workers": 0,
    }
    model = {
        "name": "detect",
        "implementation": "deploy.peers.with_mlserver.Detect",
        "max_batch_size": job.max_batch_size,
        "max_batch_time": job.window_ms / 1e3,
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="rcnn-mlserver-") as folder:
        write_settings(from_environment(), Path(folder))
        return subprocess.call([str(Path(sys.executable).with_name("mlserver")), "start", folder])


if __name__ == "__main__":
    sys.exit(main())
