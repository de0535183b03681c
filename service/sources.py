"""Where an image comes from, if its sender says so: a camera, a site. X-Source in REST, x-source in gRPC metadata."""

import re
from contextvars import ContextVar

OTHER_SOURCES = "(other)"  # one label for all beyond the bound; no sender can be called so
_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,64}")

current_source: ContextVar[str | None] = ContextVar("current_source", default=None)
"""The source of the request under way."""


def come_from(sent: str | None) -> None:
    """Note the source of this task's request; one that is no plain short name is none."""
    current_source.set(sent if sent and _PLAIN.fullmatch(sent) else None)
