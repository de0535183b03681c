"""Messages of the Open Inference Protocol v2 <-> values."""

from collections.abc import Mapping
from typing import Any

from service.api.grpc.proto import inference_pb2 as pb
from service.api.oip.body import raw_bytes, refuse_parameters
from service.api.oip.values import InferRequest, InferResponse, InputTensor, Parameter
from service.errors import InvalidRequest


def to_request(message: pb.ModelInferRequest) -> InferRequest:
    """Raises InvalidRequest."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(f"raw_input_contents has {len(raw)} entries for {len(message.inputs)} inputs.")
    for output in message.outputs:
        refuse_parameters(output.name, output.parameters, set())
    inputs = tuple(_input(tensor, raw[index] if raw else None) for index, tensor in enumerate(message.inputs))
    outputs = tuple(output.name for output in message.outputs)
    return InferRequest(inputs, outputs, parameters(message.parameters), message.id)


def _input(message: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> InputTensor:
    refuse_parameters(message.name, message.parameters, {"binary_data_size"})  # kserve's client leaves it in
    shape = tuple(message.shape)
    if raw is not None:
        if message.HasField("contents"):
            raise InvalidRequest(f"{message.name}: has both contents and raw_input_contents; send one.")
        return InputTensor(message.name, message.datatype, shape, memoryview(raw))
    contents = message.contents
    kind = {"BYTES": "bytes_contents", "UINT8": "uint_contents"}.get(message.datatype, "bytes_contents")
    others = [field.name for field, _ in contents.ListFields() if field.name != kind]
    if others:
        raise InvalidRequest(f"{message.name}: {message.datatype} belongs into {kind}, not into {', '.join(others)}.")
    return InputTensor(message.name, message.datatype, shape, list(getattr(contents, kind)))


def parameters(sent: Mapping[str, Any]) -> dict[str, Parameter]:
    """InferParameter or ModelRepositoryParameter by name. Raises InvalidRequest where one is empty."""
    read: dict[str, Parameter] = {}
    for name, message in sent.items():
        kind = message.WhichOneof("parameter_choice")
        if kind is None:
            raise InvalidRequest(f"parameters: {name!r:.100} has no value.")
        read[name] = getattr(message, kind)
    return read


def to_response(answer: InferResponse) -> pb.ModelInferResponse:
    """Contents always raw, as Triton sends them."""
    outputs = [
        pb.ModelInferResponse.InferOutputTensor(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        for tensor in answer.outputs
    ]
    return pb.ModelInferResponse(
        model_name=answer.model.name,
        model_version=answer.model.version,
        id=answer.id,
        outputs=outputs,
        raw_output_contents=[raw_bytes(tensor) for tensor in answer.outputs],
    )
