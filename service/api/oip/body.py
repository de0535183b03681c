"""REST bodies of the protocol, JSON with or without binary tensors behind it <-> values."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.api.oip.tensors import join_elements, split_header, split_tensors
from service.api.oip.values import InferRequest, InferResponse, InputTensor, OutputTensor, TensorLimits
from service.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Input(_Part):
    name: str
    datatype: str
    shape: list[int] = Field(min_length=1, max_length=8)
    parameters: dict[str, Any] = {}
    data: Any = None


class _Output(_Part):
    name: str
    parameters: dict[str, Any] = {}


class _Body(_Part):
    id: str = Field("", max_length=1024)
    model_name: str = ""  # kserve's client repeats it here
    parameters: dict[str, bool | int | float | str] = {}
    inputs: list[_Input]
    outputs: list[_Output] = []


@dataclass(frozen=True)
class Wanted:
    """How the answer goes back: outputs named in binary go binary, all others binary where by_default is set."""

    binary: Mapping[str, bool]
    by_default: bool

    def is_binary(self, output: str) -> bool:
        return self.binary.get(output, self.by_default)


_PIECE_BYTES = 250_000  # unpacked at a time


def decompressed(body: bytes, encoding: str | None, max_bytes: int, grows: Callable[[int], None]) -> bytes:
    """
    body without its gzip or deflate (zlib) wrapping; never more than max_bytes of it are unpacked.

    grows is told of every piece of bytes before it is kept; what it raises ends the unpacking. Raises
    UnsupportedMediaType, InvalidRequest or PayloadTooLarge.
    """
    if encoding in (None, "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedMediaType(f"Content-Encoding: expected gzip or deflate, got {encoding!r:.40}.")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)  # tells gzip and zlib apart by itself
    unpacked = bytearray()
    while body:
        try:
            piece = unpacking.decompress(body, _PIECE_BYTES)
        except zlib.error as error:
            raise InvalidRequest(f"The body is not {encoding}, as Content-Encoding says ({error}).") from None
        if len(unpacked) + len(piece) > max_bytes:
            raise PayloadTooLarge(f"The body unpacks to more than {max_bytes} bytes, the most accepted.")
        grows(len(piece))
        unpacked += piece
        body = unpacking.unconsumed_tail
    if not unpacking.eof or unpacking.unused_data:
        raise InvalidRequest(f"The body is cut short, or longer than its {encoding} wrapping.")
    return bytes(unpacked)


def read_body(body: bytes, header_length: str | None, limits: TensorLimits) -> tuple[InferRequest, Wanted]:
    """Raises InvalidRequest or PayloadTooLarge, before anything in proportion to a false declaration is allocated."""
    header, binary = split_header(memoryview(body), header_length)
    if len(header) > limits.max_json_bytes:
        raise PayloadTooLarge(
            f"The JSON has {len(header)} bytes; at most {limits.max_json_bytes} are accepted. Send binary tensors."
        )
    parsed = _parse(header)
    for tensor in parsed.inputs:
        refuse_parameters(tensor.name, tensor.parameters, {"binary_data_size"})
    sizes = [(i.name, _binary_size(i)) for i in parsed.inputs if "binary_data_size" in i.parameters]
    parts = iter(split_tensors(binary, sizes))
    inputs = tuple(
        InputTensor(i.name, i.datatype, tuple(i.shape), next(parts) if "binary_data_size" in i.parameters else i.data)
        for i in parsed.inputs
    )
    by_default = parsed.parameters.pop("binary_data_output", False)
    wanted = Wanted({o.name: _is_binary(o) for o in parsed.outputs if o.parameters}, by_default is True)
    names = tuple(output.name for output in parsed.outputs)
    return InferRequest(inputs, names, parsed.parameters, parsed.id, parsed.model_name), wanted


def _parse(header: memoryview) -> _Body:
    try:
        return _Body.model_validate(orjson.loads(header))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The request is not JSON ({error}). Before binary tensors, Inference-Header-Content-Length is its length."
        ) from None
    except ValidationError as error:
        words = (f"{'.'.join(map(str, row['loc'])) or 'body'}: {row['msg']}" for row in error.errors()[:3])
        raise InvalidRequest("; ".join(words)[:500] + ".") from None


def _binary_size(tensor: _Input) -> int:
    size = tensor.parameters["binary_data_size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidRequest(f"{tensor.name}: binary_data_size should be a number of bytes, got {size!r:.40}.")
    if tensor.data is not None:
        raise InvalidRequest(f"{tensor.name}: has both data and binary_data_size; send one.")
    return size


def _is_binary(output: _Output) -> bool:
    refuse_parameters(output.name, output.parameters, {"binary_data"})
    return output.parameters["binary_data"] is True


def refuse_parameters(tensor: str, sent: Mapping[str, object], known: set[str]) -> None:
    """Raises InvalidRequest where a tensor carries a parameter that would be ignored."""
    unknown = ", ".join(sorted(set(sent) - known))
    if "shared_memory" in unknown:
        raise InvalidRequest(f"{tensor}: shared memory is not offered here; send the tensor in the request.")
    if unknown:
        raise InvalidRequest(f"{tensor}: unknown tensor parameters {unknown:.200}.")


def write_body(response: InferResponse, wanted: Wanted) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON where binary tensors follow."""
    outputs, parts = [], []
    for tensor in response.outputs:
        row: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if wanted.is_binary(tensor.name):
            parts.append(raw_bytes(tensor))
            row["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            row["data"] = _listed(tensor)
        outputs.append(row)
    document = {"model_name": response.model.name, "model_version": response.model.version, "outputs": outputs}
    if response.id:
        document["id"] = response.id
    header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([header, *parts]), len(header) if parts else None


def raw_bytes(tensor: OutputTensor) -> bytes:
    """An output as the binary extension and gRPC's raw contents carry it."""
    return join_elements(tensor.data) if isinstance(tensor.data, list) else tensor.data.tobytes()


def _listed(tensor: OutputTensor) -> Any:
    if isinstance(tensor.data, list):
        return [element.decode("ascii") for element in tensor.data]
    return tensor.data.ravel()
