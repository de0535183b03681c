"""Triton, by PyTriton: encoded images are one BYTES element each, so that its batcher joins images of any size."""

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from deploy.peers.detecting import Detector
from loadtests.peers.job import from_environment


def main() -> None:
    job = from_environment()
    detector = Detector(job)

    @batch
    def detect(image: NDArray[np.object_]) -> dict[str, NDArray[np.object_]]:
        answers = detector.answers([bytes(body) for body in image[:, 0]])
        return {"answer": as_bytes([orjson.dumps(answer) for answer in answers])}

    batcher = DynamicBatcher(max_queue_delay_microseconds=round(job.window_ms * 1e3))
    config = TritonConfig(http_address="127.0.0.1", http_port=job.port, allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="detect",
            infer_func=detect,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="answer", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=job.max_batch_size, batcher=batcher),
            strict=False,
        )
        triton.serve()


def as_bytes(answers: Sequence[bytes]) -> NDArray[np.object_]:
    """(N, 1) of Python bytes: an array of fixed width would pad them."""
    column = np.empty((len(answers), 1), np.object_)
    column[:, 0] = answers
    return column


if __name__ == "__main__":
    main()
