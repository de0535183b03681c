"""Requests at a steady rate from the node, each on a connection of its own, so that every one is routed anew."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ZOO = Path(__file__).parents[2] / "model/zoo"


@dataclass
class Answers:
    """What came back, in the order in which it did: a status, or in words what went wrong."""

    outcomes: list[int | str] = field(default_factory=list)

    def failures(self) -> list[int | str]:
        assert self.outcomes, "no request was made"
        return [outcome for outcome in self.outcomes if outcome != 200]


@contextmanager
def steady_load(url: str, rate_per_s: float = 1.0, model: str = "blood-cells") -> Iterator[Answers]:
    """Golden pictures of `model`, open loop: a slow answer does not delay the next question."""
    pictures = [
        path.read_bytes() for path in sorted(ZOO.glob(f"{model}/*/golden/*")) if path.suffix in (".jpg", ".png")
    ]
    answers, end = Answers(), threading.Event()

    def ask(picture: bytes) -> None:
        try:
            answer = httpx.post(f"{url}/v1/models/{model}/detect", content=picture, timeout=90)
            answers.outcomes.append(f"500: {answer.text}" if answer.status_code == 500 else answer.status_code)
        except httpx.TransportError as problem:
            answers.outcomes.append(f"{type(problem).__name__}: {problem}")

    def keep_asking(workers: ThreadPoolExecutor) -> None:
        started_s = time.monotonic()
        for count in range(10**9):
            if end.wait(max(0.0, started_s + count / rate_per_s - time.monotonic())):
                return
            workers.submit(ask, pictures[count % len(pictures)])

    with ThreadPoolExecutor(64) as workers:
        asking = threading.Thread(target=keep_asking, args=(workers,))
        asking.start()
        try:
            yield answers
        finally:
            end.set()
            asking.join()
            workers.shutdown(cancel_futures=True)  # what was not asked yet
