"""Ask about every source, several at once, put the results down in order, say how far it is and how it ended."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.detect_files.asking import Detector, Refused, patiently
from service.detect_files.sources import Source
from service.detect_files.writing import CannotWrite, Writer
from service.errors import ServiceError

_FAILURES = (ServiceError, Refused, CannotWrite, OSError, ValueError, httpx.HTTPError)


async def run(
    sources: Sequence[Source], detector: Detector, writer: Writer, *, jobs: int, patience_s: float, lines: bool
) -> int:
    """
    Detect in all sources, at most jobs of them at once; returns how many failed.

    patience_s: how long a refused image is offered again. lines: whether writer shows its own progress on standard
    output, so that none is needed beside it.
    """
    start, failed, place = time.monotonic(), 0, 0
    with _progress(len(sources), quiet=lines) as progress:
        async for source, result in _in_order(sources, detector, writer, jobs, patience_s):
            place += 1
            try:
                if isinstance(result, Exception):
                    raise result
                writer.write(place, source, result)
            except _FAILURES as error:
                failed += 1
                print(f"{source.name}: {str(error) or type(error).__name__}", file=sys.stderr)
            progress.advance()
    writer.close()
    if failed or len(sources) > 1:
        _say_how_it_ended(len(sources), failed, time.monotonic() - start)
    return failed


async def _in_order(
    sources: Sequence[Source], detector: Detector, writer: Writer, jobs: int, patience_s: float
) -> AsyncIterator[tuple[Source, Any]]:
    """Each source with its result or the error it ended in; the window moves on when its oldest is done."""

    async def one(source: Source) -> Any:
        try:
            body = await asyncio.to_thread(source.read)
            return await patiently(lambda: writer.ask(detector, body), patience_s)
        except _FAILURES as error:
            return error

    window: deque[tuple[Source, asyncio.Task[Any]]] = deque()
    for source in sources:
        if len(window) == jobs:
            oldest, task = window.popleft()
            yield oldest, await task
        window.append((source, asyncio.create_task(one(source))))
    for oldest, task in window:
        yield oldest, await task


def _say_how_it_ended(count: int, failed: int, seconds: float) -> None:
    rate = f"{count} images in {seconds:.1f} s, {count / max(seconds, 1e-9):.1f} a second"
    print(f"{rate}; {failed} of {count} images failed" if failed else rate, file=sys.stderr)


class _Advance(Protocol):
    def advance(self) -> None: ...


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[_Advance]:
    """A bar on a terminal; elsewhere a line on standard error at every tenth; nothing for one image."""
    if total > 1 and sys.stderr.isatty():
        with _Bar(total) as bar:
            yield bar
    else:
        yield _Tenths(total, silent=quiet or total < 2)


class _Bar:
    def __init__(self, total: int) -> None:
        columns = (TextColumn("detecting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Lines on the same terminal go above the bar; into a pipe they go untouched.
        above = sys.stdout.isatty()
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=above)
        self._task = self._progress.add_task("detecting", total=total)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self) -> None:
        self._progress.advance(self._task)


class _Tenths:
    def __init__(self, total: int, silent: bool) -> None:
        self._total, self._silent, self._done = total, silent, 0

    def advance(self) -> None:
        before, self._done = self._done * 10 // self._total, self._done + 1
        if not self._silent and self._done * 10 // self._total > before:
            print(f"detecting: {self._done} of {self._total} images", file=sys.stderr)
