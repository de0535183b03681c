"""
Who did what, to which model, with what outcome: one JSON line each, in a file of its own. Never a picture, never a key.

Written by the standard library's logging, so that a file moved away by log rotation is opened anew.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

import orjson

from service.errors import ServiceError
from service.security.caller import current_caller
from service.security.watched import FileUnusable

_log = logging.getLogger("rcnn.audit")
_log.propagate = False
_log.disabled = True
_of_process: dict[str, str] = {}  # what every line says beside its own


def configure_audit(where: Path | None, release: str = "") -> None:
    """Write to a file, or to stderr for "-", from now on. release: stands on each line. Raises FileUnusable."""
    if where is None:
        return
    try:
        to_file = WatchedFileHandler(where, encoding="utf-8") if str(where) != "-" else None
    except OSError as error:
        raise FileUnusable(f"cannot write the audit log {where}: {error.strerror}") from None
    _log.handlers = [to_file or logging.StreamHandler(sys.stderr)]
    _log.setLevel(logging.INFO)
    _of_process.update({"release": release} if release else {})
    _log.disabled = False


def record(action: str, outcome: str, **facts: Any) -> None:
    """outcome: ok, or the stable code of what went wrong."""
    if _log.disabled:
        return
    who = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "caller": current_caller().name}
    line = {"event": "audit", **who, **_of_process, "action": action, "outcome": outcome, **facts}
    _log.info(orjson.dumps(line).decode())


@contextmanager
def audited(action: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Record the block, however it ends; it may add to what is yielded."""
    outcome = "internal"
    try:
        yield facts
        outcome = "ok"
    except ServiceError as error:
        outcome = error.code
        raise
    finally:
        record(action, outcome, **facts)
