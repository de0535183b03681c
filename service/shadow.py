"""
A share of the requests asked again of a candidate, beside the answers given to clients: what differs is counted.

Clients never wait for it: a question goes into a queue bounded in bytes, or is dropped and counted. The candidate gets
the image and the options, built anew: no header of the client's, and so none of their credentials, ever leave this
process. Where the candidate asks for a key, it is shown one of this service's own.

A candidate that says which release it is (X-Release) is counted under that name. Behind one address there may be first
one release, then the next, and between rollouts this very one: itself it asks only now and then, and counts no pairs.
"""

import asyncio
import http.client
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray

from service.detections import Answer, Detections, DetectOptions, RleMask
from service.pairing import CANDIDATE_FAILED, Pairing, pair
from service.shadow_line import Line
from service.shadow_metrics import Work

_SAME_RELEASE_REST_S = 15.0  # between looks whether a candidate has come to the address
_RELEASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ShadowObserver(Protocol):
    """Told what became of each question."""

    def shadow_paired(self, model: str, candidate: str, pairing: Pairing, work: Work | None) -> None: ...
    def shadow_dropped(self, reason: str) -> None: ...
    def shadow_drawn(self, chosen: bool) -> None: ...


class PairReader(Protocol):
    """Reads each question with both answers and how they differ. Takes microseconds, never raises."""

    def paired(
        self,
        picture: bytes,
        options: DetectOptions,
        score_threshold: float,
        answer: Answer,
        found: Detections,
        pairing: Pairing,
    ) -> None: ...


@dataclass(frozen=True)
class Candidate:
    """Who is asked, how often, and how patiently."""

    url: str
    name: str  # the label its counters carry unless it says its release
    own_release: str  # of the one that asks; empty: it has no name
    share: float  # of requests, 0 to 1
    timeout_s: float
    queue_bytes: int
    key_file: Path | None = None  # an API key, read for each question: it may change
    trusted: ssl.SSLContext | None = None  # whose certificates are believed; None: the system's authorities


@dataclass(frozen=True)
class _Question:
    image: bytes
    options: DetectOptions
    score_threshold: float
    class_thresholds: Mapping[str, float]
    answer: Answer


class CandidateFailed(Exception):
    """The candidate did not answer a question the stable model has answered."""


class CandidateRefused(Exception):
    """The candidate has too much to do: says nothing about what it would have seen."""


class NotLetIn(Exception):
    """Key or certificate are not taken by one side or the other: says nothing about the candidate's model."""


class SameRelease(Exception):
    """No candidate is there: it is this release that answers."""


class Shadow:
    """Used on one event loop: `consider` at any time after `start` and before `close`."""

    def __init__(
        self,
        candidate: Candidate,
        observer: ShadowObserver,
        reader: PairReader | None = None,
        draw: Callable[[], float] = random.random,
        class_thresholds: Callable[[str], Mapping[str, float]] = lambda _: {},
    ) -> None:
        """class_thresholds: those of a model's own, by its name, which beat the threshold of all classes."""
        self._candidate, self._observer, self._reader, self._draw = candidate, observer, reader, draw
        self._class_thresholds = class_thresholds
        self._waiting: asyncio.Queue[_Question] = asyncio.Queue()
        self._waiting_bytes = 0
        self._name, self._rest_until_s = candidate.name, 0.0
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")

    def start(self) -> None:
        self._line = Line(self._candidate.url, self._candidate.timeout_s, self._candidate.trusted)
        # One at a time: questions that met in a batch would count the work of both, and look slow.
        self._task = asyncio.create_task(self._ask_on())

    async def close(self) -> None:
        """Forget what waits: nobody does for it."""
        if self._task is not None:
            self._line.end()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown, wait=True)  # an answer may be half compared
        if self._task is not None:
            self._line.close()

    def exchanged(
        self, picture: bytes | NDArray[np.uint8], options: DetectOptions, score_threshold: float, answer: Answer
    ) -> None:
        """A client has been answered; the candidate may be asked the same. Takes microseconds and never raises."""
        if time.monotonic() < self._rest_until_s:
            return
        is_chosen = self._draw() < self._candidate.share
        self._observer.shadow_drawn(is_chosen)
        if not is_chosen:
            return
        if not isinstance(picture, bytes):
            self._observer.shadow_dropped("pixels")  # encoding them anew would cost more than they tell
        elif self._waiting_bytes + len(picture) > self._candidate.queue_bytes:
            self._observer.shadow_dropped("queue_full")
        else:
            self._waiting_bytes += len(picture)
            defaults = {} if options.score_threshold is not None else self._class_thresholds(answer.model.name)
            by_class = {**defaults, **options.class_score_thresholds}
            self._waiting.put_nowait(_Question(picture, options, score_threshold, by_class, answer))

    async def _ask_on(self) -> None:
        while True:
            question = await self._waiting.get()
            try:
                await self._ask(question)
            finally:
                self._waiting_bytes -= len(question.image)

    async def _ask(self, question: _Question) -> None:
        model = question.answer.model.name
        try:
            name, pairing, found, work = await self._in_time(question)
        except SameRelease:
            self._observer.shadow_dropped("same_release")
            self._rest_until_s = time.monotonic() + _SAME_RELEASE_REST_S
        except CandidateRefused:
            self._observer.shadow_dropped("refused")
        except NotLetIn:
            self._observer.shadow_dropped("not_let_in")
        except CandidateFailed:
            self._observer.shadow_paired(model, self._name, CANDIDATE_FAILED, None)
        else:
            self._observer.shadow_paired(model, name, pairing, work)
            if self._reader is not None:
                asked = question.image, question.options, question.score_threshold, question.answer
                self._reader.paired(*asked, found, pairing)

    async def _in_time(self, question: _Question) -> tuple[str, Pairing, Detections, Work | None]:
        """As `_asked`, and never longer than the candidate may take: the line bounds each silence, not the whole."""
        asked = asyncio.get_running_loop().run_in_executor(self._thread, self._asked, question)
        try:
            async with asyncio.timeout(self._candidate.timeout_s):
                return await asyncio.shield(asked)
        except (TimeoutError, asyncio.CancelledError) as error:
            self._line.cut()
            await asyncio.gather(asked, return_exceptions=True)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise CandidateFailed(f"no answer within {self._candidate.timeout_s:g} s") from None

    def _asked(self, question: _Question) -> tuple[str, Pairing, Detections, Work | None]:
        """Runs in the thread. Raises CandidateFailed, CandidateRefused, NotLetIn or SameRelease."""
        name, body = self._answer(question)
        return name, *_compared(question, body)

    def _answer(self, question: _Question) -> tuple[str, dict[str, Any]]:
        """The candidate's name and JSON."""
        path = f"/v1/models/{quote(question.answer.model.name)}/detect?{urlencode(to_query(question.options))}"
        headers = {"Content-Type": "application/octet-stream", **self._key()}
        try:
            reply = self._line.post(path, headers, question.image)
            name = self._named(reply.release)
            _check_status(reply.status)
            body = json.loads(reply.body)
        except ssl.SSLCertVerificationError as error:
            raise NotLetIn(str(error)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CandidateFailed(str(error)) from error
        if not isinstance(body, dict):
            raise CandidateFailed("not an object")
        return name, body

    def _key(self) -> dict[str, str]:
        """Raises NotLetIn where the file cannot be read, as while a Secret is still to come."""
        if self._candidate.key_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._candidate.key_file.read_text().strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            raise NotLetIn(f"{self._candidate.key_file.name}: {error}") from None

    def _named(self, release: str) -> str:
        """Who answers, remembered for answers that never come. Raises SameRelease; what is no name becomes no label."""
        if release and release == self._candidate.own_release:
            raise SameRelease
        if _RELEASE_NAME.fullmatch(release):
            self._name = release
        return self._name


def _check_status(status: int) -> None:
    """Raises CandidateRefused, NotLetIn or CandidateFailed where it is not 200."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise CandidateRefused
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise NotLetIn
    if status != HTTPStatus.OK:
        raise CandidateFailed(f"status {status}")


def to_query(options: DetectOptions) -> list[tuple[str, str | int | float | bool | None]]:
    """What a client chose, as REST query parameters; what it left to the model is left to the candidate too."""
    query: list[tuple[str, str | int | float | bool | None]] = []
    for field in fields(DetectOptions):
        value = getattr(options, field.name)
        if field.name == "class_score_thresholds":
            query += [(field.name, f"{label}:{score}") for label, score in value.items()]
        elif isinstance(value, tuple):
            query += [(field.name, name) for name in value]
        elif value is not None and value != field.default:
            query.append((field.name, str(value).lower() if isinstance(value, bool) else str(value)))
    return query


def _compared(question: _Question, body: dict[str, Any]) -> tuple[Pairing, Detections, Work | None]:
    """The pairing, what the candidate found, and both sides' work. Raises CandidateFailed if body is no answer."""
    try:
        found, timings_ms = read_answer(body), body["timings_ms"]
        stable = _with_rle_masks_only(question.answer.detections)
        pairing = pair(stable, found, question.score_threshold, class_thresholds=question.class_thresholds)
        work_ms = float(timings_ms["total"]) - float(timings_ms.get("queue", 0.0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CandidateFailed(f"an answer that cannot be read: {error}") from error
    timings = question.answer.timings
    stable_s = timings.total_s - timings.stages_s.get("queue", 0.0)
    return pairing, found, None if timings.from_cache else Work(stable_s, work_ms / 1e3)


def read_answer(body: dict[str, Any]) -> Detections:
    """
    The answer of `/v1/detect` as values, masks only where all are run lengths.

    Raises KeyError, TypeError, ValueError or AttributeError where it is none.
    """
    rows = body["detections"]
    masks = [row.get("mask") for row in rows]
    readable = bool(masks) and all(isinstance(mask, dict) and "counts" in mask for mask in masks)
    return Detections(
        image_hw=(int(body["image"]["height"]), int(body["image"]["width"])),
        boxes_xyxy=np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row["score"] for row in rows], np.float32),
        label_ids=np.array([row["label_id"] for row in rows], np.int64),
        labels=tuple(str(row["label"]) for row in rows),
        masks=tuple(RleMask((m["size"][0], m["size"][1]), m["counts"]) for m in masks) if readable else None,
    )


def _with_rle_masks_only(found: Detections) -> Detections:
    """Polygons, PNGs and raw grids are not compared: the candidate's are left out too."""
    readable = bool(found.masks) and all(isinstance(mask, RleMask) for mask in found.masks or ())
    return found if readable else replace(found, masks=None)
