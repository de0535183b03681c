"""LitServe: decoding, engine and NMS in its one inference worker; `batch` gives the list, as images differ in shape."""

import base64
from collections.abc import Sequence

import litserve
import orjson
from fastapi import Response

from deploy.peers.detecting import Answer, Detector
from loadtests.peers.job import from_environment


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._detector = Detector(from_environment())

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs  # its own stacks arrays, and fails where they differ in shape

    def predict(self, x: Sequence[bytes]) -> list[Answer]:
        return self._detector.answers(x)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        return output

    def encode_response(self, output: Answer) -> Response:
        return Response(orjson.dumps(output), media_type="application/json")


def main() -> None:
    job = from_environment()
    api = Api(max_batch_size=job.max_batch_size, batch_timeout=job.window_ms / 1e3)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=job.port, generate_client_file=False, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
