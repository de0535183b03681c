"""Two keys at one server: who sends much cannot keep out, or hold up, who sends little."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from service.bundle import Bundle
from service.security.api_keys import entry_of, new_key
from tests.conftest import Served, encode_picture, run_server
from tests.hanging import hanging
from tests.patience import eventually

PICTURE = encode_picture(64, 64)
PLACES, FLOOD = 16, 40


@dataclass(frozen=True)
class Shared:
    served: Served
    flood: dict[str, str]
    little: dict[str, str]
    fault: Path  # by which the engine is held


@pytest.fixture(scope="module")
def shared(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One image at a time, a fifth of a second each, 16 places."""
    folder, made = tmp_path_factory.mktemp("keys"), {}
    file, fault = folder / "keys.toml", folder / "fault"
    for name in ("flood", "little"):
        key, digest = new_key(name)
        made[name] = {"Authorization": f"Bearer {key}"}
        with file.open("a") as entries:
            entries.write(entry_of(name, digest, ["detect"]))
    environment = {
        "RCNN_ENGINE": "fake",
        "RCNN_FAKE_ENGINE_DELAY_MS": "200",
        "RCNN_FAKE_ENGINE_FAULT_FILE": str(fault),
        "RCNN_BUNDLES": str(toy_bundle.root),
        "RCNN_MAX_BATCH_SIZE": "1",
        "RCNN_MAX_IN_FLIGHT": str(PLACES),
        "RCNN_DEFAULT_TIMEOUT_MS": "600000",
        "RCNN_API_KEYS": str(file),
    }
    with run_server(environment) as served:
        yield Shared(served, made["flood"], made["little"], fault)


@pytest.mark.parametrize("door", ["rest", "grpc"])
async def test_one_key_floods_and_another_is_answered_before_most_of_that(shared: Shared, door: str) -> None:
    """The flood gets all places but the last two; the other's request finds one of those, and overtakes."""
    answered: list[str] = []

    async def ask(client: httpx.AsyncClient, who: str, headers: dict[str, str]) -> int:
        response = await client.post(f"{shared.served.http_url}/v1/detect", content=PICTURE, headers=headers)
        if response.status_code == 200:
            answered.append(who)
        return response.status_code

    async def ask_by_grpc() -> int:
        async with grpc.aio.insecure_channel(shared.served.grpc_address) as channel:
            metadata = tuple((name.lower(), value) for name, value in shared.little.items())
            await pb_grpc.DetectionServiceStub(channel).Detect(pb.DetectRequest(image=PICTURE), metadata=metadata)
        answered.append("little")
        return 200

    def inside() -> int:
        status = httpx.get(f"{shared.served.http_url}/v1/status", headers=shared.little)
        return int(status.raise_for_status().json()["in_flight_requests"])

    most_inside = PLACES - PLACES // 8
    async with httpx.AsyncClient(timeout=60) as client:
        with hanging(shared.fault):
            flood = [asyncio.create_task(ask(client, "flood", shared.flood)) for _ in range(FLOOD)]
            await asyncio.to_thread(eventually, lambda: inside() == most_inside)
            asking = ask_by_grpc() if door == "grpc" else ask(client, "little", shared.little)
            little = asyncio.create_task(asking)
            await asyncio.to_thread(eventually, lambda: inside() == most_inside + 1)
        assert await little == 200
        statuses = await asyncio.gather(*flood)
    assert most_inside <= statuses.count(200) < FLOOD and set(statuses) == {200, 429}
    assert answered.index("little") <= 5, answered
