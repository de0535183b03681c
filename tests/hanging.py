"""An engine held for as long as a test needs somebody inside: no delay is long enough on a machine that is busy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hanging(fault: Path) -> Iterator[None]:
    """The fake engine whose fault file this is goes on after the block, and not before."""
    fault.write_text("hang")
    try:
        yield
    finally:
        fault.write_text("")
