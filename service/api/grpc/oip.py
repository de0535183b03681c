"""The gRPC door of the Open Inference Protocol v2: inference.GRPCInferenceService. It parses, calls and renders."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import structlog
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from service.api.grpc.errors import Context, bug_status, end_call, to_status
from service.api.grpc.in_order import in_order
from service.api.grpc.limits import MESSAGE_COPIES
from service.api.grpc.oip_convert import parameters, to_request, to_response
from service.api.grpc.proto import inference_pb2 as pb
from service.api.grpc.proto import inference_pb2_grpc as pb_grpc
from service.api.grpc.servicer import say_trace
from service.api.oip.inference import OpenInference
from service.api.oip.values import Call
from service.api.requests import priority, request_id
from service.errors import NotOffered, ServiceError
from service.sources import come_from

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_MOST_INSIDE = 16  # requests of one stream worked on at once; no further one is read meanwhile
_EMPTY_FINAL = "triton_enable_empty_final_response"  # for models that answer many times; ours answer once
_log = structlog.get_logger("oip")

Answer = TypeVar("Answer", bound=Message)


class OipServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Methods are named by the protocol."""

    def __init__(self, oip: OpenInference) -> None:
        self._oip = oip

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        return await _answered(context, pb.ModelInferResponse, lambda: self._infer(request, context))

    async def ModelStreamInfer(
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Ordered. Nothing is read from the wire while _MOST_INSIDE requests are unanswered or unsent."""

        async def answer(index: int, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
            return await self._streamed(request, context)

        async for response in in_order(requests, answer, _MOST_INSIDE):
            yield response

    async def _streamed(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelStreamInferResponse:
        message, answer = "", pb.ModelInferResponse(id=request.id)
        try:
            answer = await self._infer(request, context)
        except ServiceError as error:
            message = f"{error.code}: {error}"
        except Exception as error:
            _log.error("unexpected error", exc_info=error)
            message = bug_status("").message
        answer.parameters["triton_final_response"].bool_param = True
        return pb.ModelStreamInferResponse(error_message=message, infer_response=answer)

    async def _infer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        left_s = context.time_remaining()
        deadline = None if left_s is None else time.monotonic() + left_s
        accounting, id = self._oip.accounting, request_id(_sent(context, "x-request-id"))
        come_from(_sent(context, "x-source"))
        trace = accounting.tracer.begin(_sent(context, "traceparent"))
        say_trace(context, accounting.tracer.traceparent(trace))
        with accounting.request("oip_grpc", id, trace) as outcome, self._oip.memory.share() as share:
            goes = priority(_sent(context, "x-request-priority"))
            call = Call(request.model_name, request.model_version, deadline, goes)
            self._oip.accept(call, outcome)
            request.parameters.pop(_EMPTY_FINAL, None)
            share.add(request.ByteSize() * MESSAGE_COPIES)
            inference = to_request(request)
            answer = await self._oip.infer(inference, call, outcome)
            return await asyncio.to_thread(to_response, answer)

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._oip.is_ready())

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        async def answer() -> pb.ModelReadyResponse:
            return pb.ModelReadyResponse(ready=self._oip.is_model_ready(request.name, request.version))

        return await _answered(context, pb.ModelReadyResponse, answer)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        return ParseDict(self._oip.server_metadata(), pb.ServerMetadataResponse())

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        async def answer() -> pb.ModelMetadataResponse:
            metadata = self._oip.model_metadata(request.name, request.version)
            return ParseDict(metadata, pb.ModelMetadataResponse())

        return await _answered(context, pb.ModelMetadataResponse, answer)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        async def answer() -> pb.ModelConfigResponse:
            config = self._oip.model_config(request.name, request.version)
            return ParseDict({"config": config}, pb.ModelConfigResponse())

        return await _answered(context, pb.ModelConfigResponse, answer)

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        async def answer() -> pb.ModelStatisticsResponse:
            statistics = self._oip.model_statistics(request.name, request.version)
            return ParseDict(statistics, pb.ModelStatisticsResponse())

        return await _answered(context, pb.ModelStatisticsResponse, answer)

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        return ParseDict({"models": self._oip.repository_index(request.ready)}, pb.RepositoryIndexResponse())

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        async def answer() -> pb.RepositoryModelLoadResponse:
            await self._oip.load(request.model_name, parameters(request.parameters))
            return pb.RepositoryModelLoadResponse()

        return await _answered(context, pb.RepositoryModelLoadResponse, answer)

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        async def answer() -> pb.RepositoryModelUnloadResponse:
            await self._oip.unload(request.model_name, parameters(request.parameters))
            return pb.RepositoryModelUnloadResponse()

        return await _answered(context, pb.RepositoryModelUnloadResponse, answer)

    async def _not_offered(self, request: Message, context: Context) -> Any:
        async def answer() -> Empty:
            raise NotOffered(
                "Not offered here, and not among the extensions ServerMetadata lists. Send tensors inline."
            )

        return await _answered(context, Empty, answer)

    SystemSharedMemoryStatus = SystemSharedMemoryRegister = SystemSharedMemoryUnregister = _not_offered
    CudaSharedMemoryStatus = CudaSharedMemoryRegister = CudaSharedMemoryUnregister = _not_offered
    TraceSetting = LogSettings = _not_offered


def _sent(context: Context, name: str) -> str | None:
    sent = dict(context.invocation_metadata() or ()).get(name)
    return sent if isinstance(sent, str) else None


async def _answered(context: Context, kind: type[Answer], answer: Callable[[], Awaitable[Answer]]) -> Answer:
    """Await answer; an error ends the call with its status, the details in the trailers as rcnn.v1 has them."""
    id = request_id(_sent(context, "x-request-id"))
    try:
        return await answer()
    except ServiceError as error:
        status = to_status(error, id)
    except Exception as error:
        _log.error("unexpected error", request_id=id, exc_info=error)
        status = bug_status(id)
    end_call(context, status, id)
    return kind()
