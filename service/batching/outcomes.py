"""How a run of the engine ended: with results, or with an error and what its callers hear of it."""

from collections.abc import Sequence
from typing import Any

from service.batching.lanes import Run
from service.errors import EngineFailed, Overloaded, ServiceError

_MEMORY_RETRY_AFTER_S = 1.0


def results_or_error(run: Run, items: Sequence[Any]) -> Sequence[Any] | Exception:
    """What run makes of items, one result each."""
    try:
        results = run(items)
        if len(results) != len(items):
            raise EngineFailed(f"{len(items)} items went in, {len(results)} results came out. This is a bug.")
    except Exception as error:
        # Tracebacks lead to frames, and they to callers and pictures: those would stay until the collector comes.
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    return results


def fault_of(error: Exception) -> ServiceError:
    """What the caller of an image hears that failed alone."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, MemoryError):
        return Overloaded("The engine has no memory for this image now.", _MEMORY_RETRY_AFTER_S, "engine_memory")
    return EngineFailed(f"The engine failed on this image: {error}")
