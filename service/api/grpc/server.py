"""The gRPC door: rcnn.v1.DetectionService, grpc.health.v1 and reflection on one port."""

import asyncio

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.api.grpc.convert import to_options, to_response
from service.api.grpc.errors import CODE
from service.api.grpc.oip import SERVICE as OIP_SERVICE
from service.api.grpc.oip import OipServicer
from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.api.grpc.proto.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server as add_oip
from service.api.oip.inference import OpenInference
from service.api.requests import accounted, priority, request_id
from service.errors import ServiceError
from service.health import Health, State
from service.metrics import Metrics
from service.predictor import Predictor

SERVICE = pb.DESCRIPTOR.services_by_name["DetectionService"].full_name
_FRAME_BYTES = 65_536  # options and framing around an image
_log = structlog.get_logger("grpc")

Context = grpc.aio.ServicerContext[pb.DetectRequest, pb.DetectResponse]


class DetectionServicer(pb_grpc.DetectionServiceServicer):
    """Parses, calls the predictor, renders; nothing else."""

    def __init__(self, predictor: Predictor, metrics: Metrics) -> None:
        self._predictor, self._metrics = predictor, metrics

    async def Detect(self, request: pb.DetectRequest, context: Context) -> pb.DetectResponse:
        id = request_id(_sent(context, "x-request-id"))
        try:
            with accounted(self._metrics, "grpc", id) as outcome:
                outcome.model = self._predictor.accepting_model(request.model or None, request.version or None)
                answer = await self._predictor.predict(
                    request.image,
                    to_options(request.options),
                    model_name=request.model or None,
                    version=request.version or None,
                    timeout_s=context.time_remaining(),
                    priority=priority(_sent(context, "x-request-priority")),
                )
                outcome.answers = [answer]
                return to_response(answer, id)
        except ServiceError as error:
            await context.abort(CODE[type(error)], f"{error.code}: {error}", (("x-request-id", id),))
        except Exception as error:
            _log.error("unexpected error", request_id=id, exc_info=error)
            await context.abort(
                grpc.StatusCode.INTERNAL, "internal: something broke on our side", (("x-request-id", id),)
            )


def _sent(context: Context, name: str) -> str | None:
    """One entry of the call's metadata."""
    value = dict(context.invocation_metadata() or ()).get(name)
    return value if isinstance(value, str) else None


class GrpcDoor:
    """The server, from bind to drain."""

    def __init__(
        self, predictor: Predictor, health_state: Health, metrics: Metrics, max_image_bytes: int, oip: OpenInference
    ) -> None:
        # Without so_reuseport=0 a second server would share a taken port in silence.
        options = [("grpc.max_receive_message_length", max_image_bytes + _FRAME_BYTES), ("grpc.so_reuseport", 0)]
        self._server = grpc.aio.server(options=options)
        pb_grpc.add_DetectionServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
            DetectionServicer(predictor, metrics), self._server
        )
        add_oip(OipServicer(oip), self._server)  # type: ignore[no-untyped-call]  # generated
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, OIP_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._updates: set[asyncio.Task[None]] = set()
        health_state.on_change(self._on_health)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError if it is taken."""
        try:
            bound = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen for gRPC on {host}:{port}: {error}") from error
        await self._set_health(State.STARTING)
        await self._server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Take no new calls; let those inside finish for grace_s."""
        await self._server.stop(grace_s)

    def _on_health(self, state: State) -> None:
        task = asyncio.get_running_loop().create_task(self._set_health(state))
        self._updates.add(task)  # the loop keeps only weak references to tasks
        task.add_done_callback(self._updates.discard)

    async def _set_health(self, state: State) -> None:
        serving = (
            health_pb2.HealthCheckResponse.SERVING
            if state is State.READY
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", SERVICE, OIP_SERVICE):
            await self._health.set(name, serving)
