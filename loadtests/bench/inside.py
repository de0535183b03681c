"""What is inside the service, measured by processes of its own: nothing of it is imported here."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any


def measured(*arguments: str) -> dict[str, Any]:
    """What `python -m model.bench ARGUMENTS` prints. Raises subprocess.CalledProcessError if it fails."""
    command = [sys.executable, "-m", "model.bench", *arguments]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


@contextmanager
def bare_engine(bundle: str, engine: str, batch: int) -> Iterator[Callable[[float], float]]:
    """A function of seconds -> images a second of the engine alone. Between calls its process sleeps."""
    command = [sys.executable, "-m", "model.bench", "bare", "--bundle", bundle, "--engine", engine]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen([*command, "--batch", str(batch)], **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        answers, asks = process.stdout, process.stdin
        if answers.readline().strip() != "ready":
            raise RuntimeError(f"{' '.join(command)} ended before it was ready")

        def run(seconds: float) -> float:
            asks.write(f"{seconds}\n")
            return float(json.loads(answers.readline()))

        yield run
        asks.close()


def ratios(slow: list[float], fast: list[float]) -> tuple[float, float, float]:
    """How many times faster, round by round: median, least, most."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return median(each), min(each), max(each)
