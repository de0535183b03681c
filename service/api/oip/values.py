"""The messages of the Open Inference Protocol v2 as values, the same for its REST and its gRPC door."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.detections import ModelId, Priority

Parameter = bool | int | float | str


@dataclass(frozen=True)
class InputTensor:
    """One input as sent. data is a memoryview of its raw bytes, or the list the caller wrote."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview | list[object]


@dataclass(frozen=True)
class InferRequest:
    """One inference. outputs are the names asked for, in order; none means all. model_name is '' unless repeated."""

    inputs: tuple[InputTensor, ...]
    outputs: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    id: str = ""
    model_name: str = ""


@dataclass(frozen=True)
class OutputTensor:
    """One output: numbers (little-endian on every machine we run on), or BYTES elements row by row."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[np.generic] | list[bytes]


@dataclass(frozen=True)
class InferResponse:
    """The answer; id is the request's."""

    model: ModelId
    id: str
    outputs: tuple[OutputTensor, ...]


@dataclass(frozen=True)
class Call:
    """What a request says outside its message. version is '' where none is named; deadline is of time.monotonic()."""

    name: str
    version: str
    deadline: float | None
    priority: Priority


@dataclass(frozen=True)
class TensorLimits:
    """What one request may hold."""

    max_images: int
    max_image_bytes: int  # encoded
    max_image_pixels: int
    max_request_bytes: int

    @property
    def max_body_bytes(self) -> int:
        """A whole request with binary tensors."""
        return min(self.max_images * self.max_image_bytes + 65_536, self.max_request_bytes)

    @property
    def max_json_bytes(self) -> int:
        """Its JSON alone, which costs many times its size in memory: one image of the largest size in base64."""
        return self.max_image_bytes * 4 // 3 + 65_536
