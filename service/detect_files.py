"""`rcnn detect`: image files against a running service, or against the shipped models in this process."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import typer
from rich.progress import track

from service.api.requests import request_id
from service.api.rest.bodies import option_error
from service.api.rest.schemas import Options, render_answer
from service.app import Service
from service.errors import ServiceError
from service.settings import read_settings

Detect = Callable[[bytes], Awaitable[dict[str, Any]]]
_TIMEOUT_S = 60.0


async def detect_files(
    paths: list[Path], url: str | None, model: str | None, options: dict[str, Any], as_json: bool
) -> bool:
    """Print one line an image; True if all were answered."""
    failed = 0
    async with _remote(url, model, options) if url else _local(model, options) as detect:
        for path in track(paths, description="detecting", disable=len(paths) < 2 or as_json, transient=True):
            try:
                answer = await detect(path.read_bytes())
            except (ServiceError, OSError, httpx.HTTPError, json.JSONDecodeError) as error:
                failed += 1
                typer.echo(f"{path}: {error}", err=True)
            else:
                typer.echo(orjson.dumps({"file": str(path), **answer}) if as_json else _summary(path, answer))
    if failed:
        typer.echo(f"{failed} of {len(paths)} images failed", err=True)
    return failed == 0


def _summary(path: Path, answer: dict[str, Any]) -> str:
    labels = [row["label"] for row in answer["detections"]]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in sorted(set(labels))) or "nothing"
    model, total_ms = answer["model"], answer["timings_ms"]["total"]
    return f"{path}: {counts} ({model['name']} {model['version']}, {total_ms:.0f} ms)"


@asynccontextmanager
async def _remote(url: str, model: str | None, options: dict[str, Any]) -> AsyncIterator[Detect]:
    endpoint = f"/v1/models/{model}/detect" if model else "/v1/detect"
    try:
        client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(f"--url {url}: {error}; expected such as http://localhost:8000") from error
    async with client:

        async def detect(body: bytes) -> dict[str, Any]:
            response = await client.post(endpoint, params=options, content=body)
            if response.is_error:
                raise httpx.HTTPError(f"{response.status_code} {_words(response)}")
            answer: dict[str, Any] = response.json()
            return answer

        yield detect


def _words(response: httpx.Response) -> str:
    """A problem document's own detail; whatever stands between us and the service may answer in other words."""
    try:
        return str(response.json()["detail"])
    except (ValueError, TypeError, KeyError):
        return response.text[:200]


@asynccontextmanager
async def _local(model: str | None, options: dict[str, Any]) -> AsyncIterator[Detect]:
    try:
        chosen = Options.model_validate(options).to_values()
    except ValueError as error:
        raise option_error(getattr(error, "errors", list)()) from error
    service = Service(read_settings())
    await service.load()
    try:

        async def detect(body: bytes) -> dict[str, Any]:
            answer = await service.predictor.predict(body, chosen, model_name=model, timeout_s=_TIMEOUT_S)
            return render_answer(answer, request_id(None))

        yield detect
    finally:
        await service.unload()
