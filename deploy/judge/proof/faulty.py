"""`python -m deploy.judge.proof.faulty`: `rcnn serve` with an engine that is slow, or fails now and then."""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from service.app import Service
from service.engine.base import Engine
from service.logs import configure_logs
from service.settings import read_settings


def hurt(engine: Engine, slower: float, error_rate: float) -> None:
    """The detector rests after each batch, for a share of the time it took, and fails in a share of them."""
    run: Callable[..., Any] = engine.detect

    def detect(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        found = run(*arguments, **options)
        time.sleep(slower * (time.perf_counter() - start))
        if random.random() < error_rate:  # nosec B311  # no secret
            raise RuntimeError("fails now and then, as the proof asks")
        return found

    engine.detect = detect  # type: ignore[method-assign]


class _Faulty(Service):
    """Hurt once it is loaded and checked."""

    async def load(self, *, check: bool = True) -> None:
        await super().load(check=check)
        hurt(self.models.get().engine, **json.loads(os.environ["PROOF_FAULTS"]))


async def _serve() -> None:
    settings = read_settings()
    configure_logs(settings.log_level, settings.log_format)
    code = await _Faulty(settings).serve()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    uvloop.run(_serve())
