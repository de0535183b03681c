"""
Strange bytes over the wire, at every door of a real server: `python -m tests.fuzz.over_the_wire --count 100000`.

Mutated real images, random bytes, broken multipart, JSON, tensors, heads and gRPC messages, from a seed. Exit 1 where
anything is answered with a 5xx or not at all, the server ends, or its memory does not come back.
"""

import argparse
import base64
import json
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx

from loadtests.pictures import read_pictures
from tests.chaos.faults import versions_of_toy
from tests.chaos.server import Server

CALLERS = 4
GROWN_MB = 30.0  # what an allocator keeps in pieces too small to give back
GROWING_MB = 10.0  # in the second half of the inputs, after as many of the same kinds: more would be a leak
IDLE_S = 6.0  # a server that has been idle for so long has given back what it does not need
Case = tuple[str, dict[str, str], bytes]  # path, headers, body
GRPC_METHODS = ("/rcnn.v1.DetectionService/Detect", "/inference.GRPCInferenceService/ModelInfer")


def mutated(chance: random.Random, body: bytes) -> bytes:
    """A few bytes changed, cut, doubled or put elsewhere."""
    data = bytearray(body)
    for _ in range(chance.randint(1, 8)):
        at, length = chance.randrange(len(data) or 1), chance.randint(1, 64)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at : at + 4] = struct.pack(">I", chance.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 65_536]))
            case _:
                del data[chance.randrange(len(data) + 1) :]
    return bytes(data)


class Cases:
    """Inputs by seed, each of a kind."""

    def __init__(self, images: list[bytes]) -> None:
        self._images = images
        self.kinds: tuple[Callable[[random.Random], Case], ...] = (
            self._image, self._image, self._noise, self._multipart, self._json, self._tensor_json, self._tensor_binary,
        )  # fmt: skip

    def _image(self, chance: random.Random) -> Case:
        options = chance.choice(["", "?masks=rle", "?masks=png&max_detections=1", "?score_threshold=x", "?nms=%00"])
        return "/v1/detect" + options, {}, mutated(chance, chance.choice(self._images))

    def _noise(self, chance: random.Random) -> Case:
        magic = chance.choice([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"II*\x00", b"MM\x00*"])
        return "/v1/detect", {}, magic + chance.randbytes(chance.randint(0, 2_000))

    def _multipart(self, chance: random.Random) -> Case:
        part = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        whole = part + chance.choice(self._images)[:3_000] + b"\r\n--edge--\r\n"
        return "/v1/detect", {"Content-Type": "multipart/form-data; boundary=edge"}, mutated(chance, whole)

    def _json(self, chance: random.Random) -> Case:
        text = base64.b64encode(chance.choice(self._images)[:3_000]).decode()
        body = json.dumps({"images": [{"b64": text}], "score_threshold": 0.5, "masks": "rle", "classes": ["thing"]})
        return "/v1/detect", {"Content-Type": "application/json"}, mutated(chance, body.encode())

    def _tensor_json(self, chance: random.Random) -> Case:
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": list(range(12))}
        body = json.dumps({"id": "1", "inputs": [tensor], "outputs": [{"name": "boxes"}]}).encode()
        return "/v2/models/toy/infer", {"Content-Type": "application/json"}, mutated(chance, body)

    def _tensor_binary(self, chance: random.Random) -> Case:
        image = chance.choice(self._images)[:3_000]
        raw = struct.pack("<I", len(image)) + image
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
        head = json.dumps({"inputs": [tensor]}).encode()
        sizes = [len(head), len(head) - 1, 0, 10**12]
        headers = {"Inference-Header-Content-Length": str(chance.choice(sizes))}
        return "/v2/models/toy/infer", headers, mutated(chance, head + raw)

    def grpc(self, chance: random.Random) -> tuple[str, bytes]:
        """A method and a message that its schema may or may not be able to read."""
        image = chance.choice(self._images)[:3_000]
        field = b"\x0a" + _varint(len(image)) + image
        return chance.choice(GRPC_METHODS), mutated(chance, field)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


class Fuzzer:
    """Sends cases and counts what comes back."""

    def __init__(self, server: Server, grpc_port: int) -> None:
        self._server, self._cases = server, Cases([picture.body for picture in read_pictures(None)])
        self._http = httpx.Client(base_url=server.url, timeout=60)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self.counts: Counter[str] = Counter()

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def run(self, first: int, count: int) -> None:
        with ThreadPoolExecutor(CALLERS) as callers:
            for outcome in callers.map(self._one, range(first, first + count)):
                self.counts[outcome] += 1

    def _one(self, seed: int) -> str:
        chance = random.Random(seed)
        kind = chance.randrange(len(self._cases.kinds) + 1)
        if kind == len(self._cases.kinds):
            return self._grpc(chance)
        path, headers, body = self._cases.kinds[kind](chance)
        try:
            status = self._http.post(path, headers=headers, content=body).status_code
        except httpx.TransportError as error:
            return f"no answer ({type(error).__name__}, seed {seed})"
        return str(status) if status < 500 else f"{status} (seed {seed})"

    def _grpc(self, chance: random.Random) -> str:
        method, message = self._cases.grpc(chance)
        try:
            self._channel.unary_unary(method)(message, timeout=60)
        except grpc.RpcError as error:
            return f"grpc {error.code().name}"
        return "grpc OK"


BAD = ("5", "no answer", "grpc UNKNOWN", "grpc UNAVAILABLE", "grpc DATA_LOSS")


def _idle_mb(server: Server) -> float:
    time.sleep(IDLE_S)
    return server.resident_mb()


def main(count: int, seed: int) -> int:
    """Fuzz a server of its own; prints what came back."""
    with tempfile.TemporaryDirectory(prefix="rcnn-fuzz-") as name:
        folder = Path(name)
        settings = {"engine": "fake", "bundles": versions_of_toy(folder / "models"), "fake_engine_delay_ms": 0}
        server = Server(settings, folder / "log")
        server.start()
        try:
            fuzzer = Fuzzer(server, server.grpc_port)
            warm = min(count, 1_000)
            fuzzer.run(seed, warm)
            before_mb = _idle_mb(server)
            half = (count - warm) // 2
            fuzzer.run(seed + warm, half)
            middle_mb = _idle_mb(server)
            fuzzer.run(seed + warm + half, count - warm - half)
            after_mb = _idle_mb(server)
            fuzzer.close()
            alive = httpx.get(f"{server.url}/readyz").status_code == 200
        finally:
            server.stop()
    for outcome, times in fuzzer.counts.most_common():
        print(f"{times:8}  {outcome}")
    memory = f"{before_mb:.0f} MB after {warm}, {middle_mb:.0f} MB half-way, {after_mb:.0f} MB at the end"
    print(f"{sum(fuzzer.counts.values())} inputs; memory {memory}")
    bad = sum(times for outcome, times in fuzzer.counts.items() if outcome.startswith(BAD))
    returned = after_mb - before_mb <= GROWN_MB and after_mb - middle_mb <= GROWING_MB
    return int(bad > 0 or not alive or not returned)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sys.exit(main(chosen.count, chosen.seed))
