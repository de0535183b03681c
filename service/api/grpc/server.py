"""The gRPC door: rcnn.v1.DetectionService, grpc.health.v1 and reflection on one port."""

import asyncio

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.api.grpc.guard import GrpcGuard
from service.api.grpc.health import HealthServicer
from service.api.grpc.limits import GrpcLimits
from service.api.grpc.oip import SERVICE as OIP_SERVICE
from service.api.grpc.oip import OipServicer
from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.api.grpc.proto.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server as add_oip
from service.api.grpc.servicer import DetectionServicer
from service.api.grpc.tls import server_credentials
from service.api.grpc.unreadable import ReadableMessages
from service.health import Health, State
from service.models import Models
from service.security.certificates import Certificates

SERVICE = pb.DESCRIPTOR.services_by_name["DetectionService"].full_name


class GrpcDoor:
    """The server, from bind to drain."""

    def __init__(
        self,
        detection: DetectionServicer,
        open_inference: OipServicer,
        health_state: Health,
        models: Models,
        guard: GrpcGuard,
        readable: ReadableMessages,
        limits: GrpcLimits,
    ) -> None:
        self._server = grpc.aio.server(
            interceptors=[guard, readable], options=limits.options(), maximum_concurrent_rpcs=limits.max_calls
        )
        pb_grpc.add_DetectionServiceServicer_to_server(detection, self._server)  # type: ignore[no-untyped-call]
        add_oip(open_inference, self._server)  # type: ignore[no-untyped-call]
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, OIP_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._updates: set[asyncio.Task[None]] = set()
        self._state, self._models, self._told = health_state, models, set[str]()
        health_state.on_change(lambda _: self._on_change())
        models.on_change(self._on_change)

    async def start(self, host: str, port: int, certificates: Certificates | None) -> int:
        """Listen; returns the port. Without certificates, in the clear. Raises OSError if the port is taken."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if certificates is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, server_credentials(certificates))
        except RuntimeError as error:
            raise OSError(f"cannot listen for gRPC on {host}:{port}: {error}") from error
        await self._set_health()
        await self._server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Take no new calls; let those inside finish for grace_s."""
        self._health.end_watches()
        await self._server.stop(grace_s)

    def _on_change(self) -> None:
        task = asyncio.get_running_loop().create_task(self._set_health())
        self._updates.add(task)  # the loop keeps only weak references to tasks
        task.add_done_callback(self._updates.discard)

    async def _set_health(self) -> None:
        """The server (""), the service, and each model by its name and by name/version; who went is unknown again."""
        kinds = health_pb2.HealthCheckResponse
        serving = kinds.SERVING if self._state.state is State.READY else kinds.NOT_SERVING
        models = {name for m in self._models.all() for name in (m.id.name, f"{m.id.name}/{m.id.version}")}
        for gone in self._told - models:
            await self._health.set(gone, kinds.SERVICE_UNKNOWN)
        self._told = models
        for name in ("", SERVICE, OIP_SERVICE, *sorted(models)):
            await self._health.set(name, serving)
