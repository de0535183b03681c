"""The wish behind a `rcnn detect` command line, checked and carried out."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.api.options import VersionedOptions
from service.detect_files.asking import Detector, local, remote
from service.detect_files.run import run
from service.detect_files.sources import NothingToDo, Source, find_images
from service.detect_files.writing import CannotWrite, CocoIds, CocoResults, Format, JsonLines, Lines, Pictures, Writer
from service.errors import InvalidOption
from service.settings import Settings


class UsageError(Exception):
    """The command line cannot mean anything; the message says what to change."""


@dataclass(frozen=True)
class Wish:
    """What to ask, whom, and where the answers go. where: a service's address, or settings of bundles to load."""

    arguments: Sequence[str]
    where: str | Settings
    model: str | None
    options: Mapping[str, Any]
    format: Format
    out: Path | None
    annotations: Path | None
    jobs: int
    timeout_s: float


def detect(wish: Wish) -> int:
    """Carry the wish out; returns how many images failed. Raises UsageError, ServiceError or OSError."""
    options = _options(wish)
    with _usage():
        sources = find_images(wish.arguments)
        detecting = _detecting(wish, options)
    with _writer(wish, sources) as writer:
        lines = wish.out is None and wish.format in ("summary", "jsonl")

        async def carry_out() -> int:
            async with detecting as detector:
                return await run(sources, detector, writer, jobs=wish.jobs, patience_s=wish.timeout_s, lines=lines)

        return asyncio.run(carry_out())


def _options(wish: Wish) -> VersionedOptions:
    masks = {"masks": "rle"} if wish.format == "coco" else {}
    try:
        options = VersionedOptions.parse(masks | dict(wish.options))
    except InvalidOption as error:
        raise UsageError(str(error)) from error
    if wish.format == "coco" and options.masks not in ("rle", "none"):
        raise UsageError(f"--masks {options.masks}: COCO results hold masks as rle (or none)")
    return options


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except (NothingToDo, CannotWrite) as error:
        raise UsageError(str(error)) from error


def _detecting(wish: Wish, options: VersionedOptions) -> AbstractAsyncContextManager[Detector]:
    if isinstance(wish.where, Settings):
        return local(wish.where, wish.model, options, wish.timeout_s)
    try:
        url = httpx.URL(wish.where)
    except httpx.InvalidURL as error:
        raise UsageError(f"--url {wish.where}: {error}; expected such as http://localhost:8000") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"--url {wish.where}: expected such as http://localhost:8000")
    return remote(url, wish.model, options, wish.timeout_s)


@contextmanager
def _writer(wish: Wish, sources: Sequence[Source]) -> Iterator[Writer]:
    """The writer of the format wished for, its file open for the length of the block."""
    with _usage():
        if wish.annotations and wish.format != "coco":
            raise UsageError("--annotations: belongs to --format coco")
        ids = CocoIds(wish.annotations) if wish.annotations else None
        if ids:
            ids.check(sources)
        if wish.format == "pictures":
            if wish.out is None:
                raise UsageError("--format pictures: needs --out FOLDER")
            yield Pictures(wish.out, sources)
            return
    if wish.out is not None and wish.out.is_dir():
        raise UsageError(f"--out {wish.out}: is a folder; expected a file for --format {wish.format}")
    stream = wish.out.open("w", encoding="utf-8") if wish.out else None
    try:
        match wish.format:
            case "coco":
                yield CocoResults(stream, ids)
            case "jsonl":
                yield JsonLines(stream)
            case _:
                yield Lines(stream)
    finally:
        if stream:
            stream.close()
