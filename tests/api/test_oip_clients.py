"""Clients nobody here wrote, unmodified, as docs/clients/oip.md shows them: every block of it is run as it stands."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.api.grpc.proto import inference_pb2
from tests.conftest import Served, run_server

ROOT = Path(__file__).parents[2]
BLOCKS = dict(
    re.findall(
        r"^### ([^\n]+)\n(?:(?!^#).)*?^(```(?:python|sh)\n.*?)^```$",
        (ROOT / "docs/clients/oip.md").read_text(),
        re.M | re.S,
    )
)
PYTHON = [name for name, block in BLOCKS.items() if block.startswith("```python")]


@pytest.fixture(scope="module")
def clients() -> Path:
    """The folder that deploy/tools/oip_clients.sh has made."""
    found = subprocess.run(
        [ROOT / "deploy/tools/oip_clients.sh", "--cached"], capture_output=True, text=True, check=False
    )
    if found.returncode == 0:
        return Path(found.stdout.strip())
    advice = "no tritonclient and kserve: run deploy/tools/oip_clients.sh"
    if os.environ.get("CI"):
        pytest.fail(advice)
    pytest.skip(advice)


@pytest.fixture(scope="module")
def shipped() -> Iterator[Served]:
    """The shipped models on ONNX Runtime, which loads fastest."""
    with run_server({"RCNN_ENGINE": "onnx", "RCNN_ENGINE_THREADS": "1"}) as server:
        yield server


def code(name: str, server: Served, folder: Path) -> str:
    """A block of the document, sent to this server."""
    text = BLOCKS[name].split("\n", 1)[1]
    text = text.replace("localhost:8000", server.http_url.removeprefix("http://"))
    return text.replace("localhost:8001", server.grpc_address).replace("/tmp/", f"{folder}/")


def test_every_client_promised_has_its_block() -> None:
    """A heading without a block that is run would prove nothing."""
    assert len(PYTHON) == 5 and set(BLOCKS) - set(PYTHON) == {"perf_analyzer"}


@pytest.mark.parametrize("name", PYTHON)
def test_python_clients_work_as_documented(name: str, clients: Path, shipped: Served, tmp_path: Path) -> None:
    """tritonclient by HTTP, gRPC, asyncio and stream; kserve by both."""
    interpreter = clients / ("kserve" if name == "kserve" else "triton") / "bin/python"
    command = [interpreter, "-c", code(name, shipped, tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_perf_analyzer_measures_every_door(clients: Path, toy_bundle: object, tmp_path: Path) -> None:
    """HTTP, gRPC and stream on the fake engine; its server-side figures are ours and no request fails."""
    with run_server({"RCNN_ENGINE": "fake"}) as server:
        command = ["bash", "-euo", "pipefail", "-c", code("perf_analyzer", server, tmp_path)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    measured = re.findall(r"throughput: ([0-9.]+) infer/sec", ended.stdout)
    assert len(measured) == 3 and all(float(rate) > 0 for rate in measured)
    executed = re.findall(r"Execution count: (\d+)", ended.stdout)
    assert len(executed) == 3 and all(int(count) >= 20 for count in executed)
    inferred_us = [int(us) for us in re.findall(r"compute infer (\d+) usec", ended.stdout)]
    assert len(inferred_us) == 3 and all(us >= 20_000 for us in inferred_us)  # the fake engine's 20 ms


def test_names_and_numbers_are_those_of_tritons_protocol(clients: Path) -> None:
    """Every RPC of theirs, and every field of ours with its number, type and repetition, by their own descriptors."""
    ask = (
        "import sys; from tritonclient.grpc import service_pb2, model_config_pb2\n"
        "for module in (service_pb2, model_config_pb2):\n"
        "    def walk(m):\n"
        "        for f in m.fields: print('field', m.full_name, f.name, f.number, f.type, f.label == 3)\n"
        "        for n in m.nested_types: walk(n)\n"
        "    for m in module.DESCRIPTOR.message_types_by_name.values(): walk(m)\n"
        "    for e in module.DESCRIPTOR.enum_types_by_name.values():\n"
        "        for v in e.values: print('value', e.full_name, v.name, v.number)\n"
        "    for s in module.DESCRIPTOR.services_by_name.values():\n"
        "        for r in s.methods: print('rpc', r.name, r.input_type.full_name, r.output_type.full_name,"
        " r.client_streaming, r.server_streaming)\n"
    )
    theirs = set(subprocess.check_output([clients / "triton/bin/python", "-c", ask], text=True).splitlines())
    ours = set(_lines())
    assert {line for line in theirs if line.startswith("rpc")} == {line for line in ours if line.startswith("rpc")}
    assert len(ours) > 150 and ours <= theirs, ours - theirs


def _lines() -> Iterator[str]:
    def walk(message: object) -> Iterator[str]:
        for f in message.fields:  # type: ignore[attr-defined]
            yield f"field {message.full_name} {f.name} {f.number} {f.type} {f.is_repeated}"  # type: ignore[attr-defined]
        for nested in message.nested_types:  # type: ignore[attr-defined]
            yield from walk(nested)

    file = inference_pb2.DESCRIPTOR
    for message in file.message_types_by_name.values():
        yield from walk(message)
    for enum in file.enum_types_by_name.values():
        yield from (f"value {enum.full_name} {value.name} {value.number}" for value in enum.values)
    for rpc in file.services_by_name["GRPCInferenceService"].methods:
        names = f"{rpc.input_type.full_name} {rpc.output_type.full_name}"
        yield f"rpc {rpc.name} {names} {rpc.client_streaming} {rpc.server_streaming}"
