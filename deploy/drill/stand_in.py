"""What is not to be had on every machine: GPUs, told of by a stand-in as the service tells of its own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

_CARD = {
    "rcnn_gpu_memory_total_bytes": 80e9,
    "rcnn_gpu_memory_used_bytes": 31e9,
    "rcnn_gpu_utilization_ratio": 0.62,
    "rcnn_gpu_temperature_celsius": 64.0,
    "rcnn_gpu_power_watts": 410.0,
}


@contextmanager
def gpus_told_of(port: int, cards: Sequence[str]) -> Iterator[None]:
    """Answers scrapes on a loopback port for the cards there are at that moment, until the block ends."""
    with _answering(port, lambda: _exposition(cards)):
        yield


def _exposition(cards: Sequence[str]) -> str:
    lines = ['rcnn_model_info{model="nuclei",version="1"} 1']
    lines += [f'{name}{{gpu="{card}"}} {value:g}' for card in cards for name, value in _CARD.items()]
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def _answering(port: int, text: Callable[[], str]) -> Iterator[None]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text().encode())

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    with HTTPServer(("127.0.0.1", port), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, name="GPU stand-in")
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
