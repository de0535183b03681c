"""The ports of the service: what answers on each, and with which limits. Imported late: it brings FastAPI and gRPC."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from service.api.grpc.guard import GrpcGuard
from service.api.grpc.limits import GrpcLimits
from service.api.grpc.oip import OipServicer
from service.api.grpc.server import GrpcDoor
from service.api.grpc.servicer import DetectionServicer
from service.api.grpc.unreadable import ReadableMessages
from service.api.oip.inference import OpenInference
from service.api.oip.values import TensorLimits
from service.api.requests import Accounting
from service.api.rest.admin import create_admin_app
from service.api.rest.app import create_rest_app
from service.api.rest.bodies import BodyLimits
from service.api.rest.connection import ConnectionGuard, ConnectionLimits
from service.api.rest.early import EarlyRefusal
from service.api.rest.guard import RestGuard, admin_rules, main_rules
from service.api.rest.headers import EveryAnswer
from service.api.rest.oip import OipRestDoor
from service.api.rest.routes import RestDoor
from service.api.rest.status import StatusDoor
from service.health import Health
from service.http_server import HttpServer
from service.images import Limits
from service.memory import BodyMemory
from service.metrics import Metrics
from service.models import Models
from service.predictor import Predictor
from service.repository import Repository
from service.security.certificates import Certificates
from service.security.guard import Guard
from service.settings import Settings
from service.tracing import Tracer


@dataclass(frozen=True)
class Inside:
    """What stands behind every door."""

    predictor: Predictor
    models: Models
    repository: Repository
    health: Health
    metrics: Metrics
    tracer: Tracer
    guard: Guard
    certificates: Certificates | None
    image_limits: Limits
    body_memory: BodyMemory
    drift_report: Callable[[], dict[str, Any]]

    @property
    def accounting(self) -> Accounting:
        return Accounting(self.metrics, self.tracer)


def grpc_door(inside: Inside, settings: Settings) -> GrpcDoor:
    """rcnn.v1, the Open Inference Protocol, health and reflection; not listening yet."""
    memory, accounting = inside.body_memory, inside.accounting
    return GrpcDoor(
        DetectionServicer(inside.predictor, accounting, memory, settings.max_in_flight_per_stream),
        OipServicer(_open_inference(inside, settings)),
        inside.health,
        inside.models,
        GrpcGuard(inside.guard, accounting, admin_here=not settings.admin_port_only),
        ReadableMessages(accounting),
        GrpcLimits(settings.max_image_bytes, settings.max_header_bytes, settings.max_grpc_calls),
    )


def http_servers(inside: Inside, settings: Settings) -> tuple[HttpServer, HttpServer]:
    """The port of REST and the page, and the port of metrics and admin; both bound. Raises OSError."""
    body = BodyLimits(
        settings.max_image_bytes,
        settings.max_images_per_request,
        settings.max_request_bytes,
        settings.body_timeout_ms / 1e3,
    )
    parts = (inside.predictor, inside.models, inside.health, inside.accounting)
    door = RestDoor(*parts, body, inside.image_limits, inside.body_memory)
    oip = OipRestDoor(_open_inference(inside, settings), body.timeout_s)
    return (
        _http_server(_main_app(inside, settings, door, oip), settings.http_port, inside, settings, for_callers=True),
        _http_server(_admin_app(inside, door, oip), settings.metrics_port, inside, settings, for_callers=False),
    )


def _main_app(inside: Inside, settings: Settings, door: RestDoor, oip: OipRestDoor) -> RestGuard:
    status = StatusDoor(inside.models, inside.health, inside.metrics)
    app = create_rest_app(door, status, version("rcnn"), inside.tracer, secured=inside.guard.is_on)
    app.router.routes.extend(oip.routes())
    refusing = EarlyRefusal(app, inside.predictor, inside.accounting)
    return RestGuard(refusing, inside.guard, inside.accounting, main_rules(admin_here=not settings.admin_port_only))


def _admin_app(inside: Inside, door: RestDoor, oip: OipRestDoor) -> RestGuard:
    app = create_admin_app(door, oip, inside.metrics.asgi_app(), inside.drift_report, inside.tracer)
    return RestGuard(app, inside.guard, inside.accounting, admin_rules())


def _open_inference(inside: Inside, settings: Settings) -> OpenInference:
    image = inside.image_limits
    limits = TensorLimits(
        settings.max_images_per_request, image.max_bytes, image.max_pixels, settings.max_request_bytes
    )
    parts = (inside.predictor, inside.models, inside.repository, inside.health, inside.accounting)
    return OpenInference(*parts, limits, inside.body_memory, version("rcnn"))


def _http_server(app: Any, port: int, inside: Inside, settings: Settings, *, for_callers: bool) -> HttpServer:
    limits = ConnectionLimits(
        settings.max_connections,
        settings.max_header_bytes,
        settings.header_timeout_ms / 1e3,
        settings.body_timeout_ms / 1e3,
        settings.keep_alive_s,
        # The metrics port closes last, outside the drain's budget, and who scrapes it asks again.
        settings.drain_linger_s if for_callers else 0.0,
    )
    guard = ConnectionGuard(limits, inside.metrics)
    tls = inside.certificates.server_context(ask_clients=for_callers) if inside.certificates else None
    secured = EveryAnswer(app, over_tls=tls is not None, release=settings.release)
    return HttpServer(secured, settings.host, port, settings.drain_timeout_s, guard.protocol, tls)
