"""What gRPC's own machinery refuses before a servicer hears of it."""

from dataclasses import dataclass

MESSAGE_COPIES = 2  # of an image in memory: the message, and its field as Python sees it

_FRAME_BYTES = 65_536  # options and framing around an image
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 60_000, 20_000  # a peer that is gone without a word is let go


@dataclass(frozen=True)
class GrpcLimits:
    """max_calls: at once, over all connections. Beyond it and beyond max_image_bytes: RESOURCE_EXHAUSTED."""

    max_image_bytes: int
    max_header_bytes: int
    max_calls: int

    def options(self) -> list[tuple[str, int]]:
        """As grpc's channel arguments."""
        return [
            ("grpc.max_receive_message_length", self.max_image_bytes + _FRAME_BYTES),
            ("grpc.max_metadata_size", self.max_header_bytes),
            ("grpc.absolute_max_metadata_size", self.max_header_bytes),
            ("grpc.max_concurrent_streams", self.max_calls),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.so_reuseport", 0),  # otherwise a second server would share a taken port in silence
        ]
