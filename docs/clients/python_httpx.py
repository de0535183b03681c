"""Detect in many images at once with httpx: python python_httpx.py http://localhost:8000 image.png ..."""

import asyncio
import sys
from pathlib import Path

import httpx

MOST_AT_ONCE, TRIES = 8, 5


async def detect(client: httpx.AsyncClient, turn: asyncio.Semaphore, path: str) -> list[dict]:
    async with turn:
        for _ in range(TRIES):
            response = await client.post("/v1/detect", params={"score_threshold": 0.5}, content=Path(path).read_bytes())
            if response.status_code not in (429, 503):
                break
            await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
        if response.is_error:
            sys.exit(f"{path}: {response.json()['detail']}")
        return response.json()["detections"]


async def main(url: str, paths: list[str]) -> None:
    turn = asyncio.Semaphore(MOST_AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        answers = await asyncio.gather(*(detect(client, turn, path) for path in paths))
    for found in (found for answer in answers for found in answer):
        print(found["label"], round(found["score"], 3), *(round(v, 1) for v in found["box"]))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
