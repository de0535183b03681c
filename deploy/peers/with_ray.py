"""Ray Serve: one replica, `serve.batch` over encoded images; the engine runs beside the replica's event loop."""

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor

import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from deploy.peers.detecting import Answer, Detector
from loadtests.peers.job import Job, from_environment

WAITING = 1_000
"""Requests at one replica: Ray's default of 5 would never fill a batch."""


class Detect:
    def __init__(self, job: Job) -> None:
        self._detector, self._thread = Detector(job), ThreadPoolExecutor(1)
        self._gathered.set_max_batch_size(job.max_batch_size)
        self._gathered.set_batch_wait_timeout_s(job.window_ms / 1e3)

    @serve.batch
    async def _gathered(self, pictures: list[bytes]) -> list[Answer]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._detector.answers, pictures)

    async def __call__(self, request: Request) -> Response:
        answer = await self._gathered(await request.body())
        return Response(orjson.dumps(answer), media_type="application/json")


def main() -> None:
    job = from_environment()
    ray.init(num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": job.port})
    deployed = serve.deployment(num_replicas=1, max_ongoing_requests=WAITING, ray_actor_options={"num_cpus": 1})
    serve.run(deployed(Detect).bind(job), route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # for sigwait, in every thread
    main()
