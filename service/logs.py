"""Structured log lines: JSON for machines, columns for people. On stderr; never an image byte."""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_FOLDERS = re.compile(r"(?<![\w.:/~-])~?/(?:[\w.+@ -]*[\w.+@-]/)+(?=[\w.+@-])")  # of an absolute path, not of a URL
_SECRET = re.compile(r"(?i)\b(bearer|basic|api[-_]?key|token|password|secret)(\W{1,3})[\w.~+/=-]{6,}|(?<=://)[^\s/@]+@")
_LONG = 4_000  # characters of one value: a traceback fits, an image does not
_CALLERS_OWN = frozenset({"request_id"})  # plain and short already, and looked for as it was sent


def redact(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: no bytes, no secrets, and of a path its last part alone."""
    for name, value in line.items():
        if isinstance(value, bytes | bytearray | memoryview):
            line[name] = f"<{len(value)} bytes>"
        elif isinstance(value, os.PathLike):
            line[name] = os.path.basename(value)
        elif isinstance(value, str) and name not in _CALLERS_OWN:
            line[name] = _redacted(value)
    return line


def _redacted(text: str) -> str:
    if len(text) > _LONG:
        text = f"{text[:_LONG]}... ({len(text)} characters)"
    return _SECRET.sub("***", _FOLDERS.sub("", text))


def configure_logs(level: str, style: Literal["json", "console"]) -> None:
    """Set up structlog for the process, and send the standard library's loggers the same way."""
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    renderer = structlog.processors.JSONRenderer() if style == "json" else console
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
