"""A wall clock that a file sets, for one process: a few lines of C between it and the C library. Needs a C compiler."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


def clock_from(file: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is off by the seconds file holds. Raises FileNotFoundError."""
    library = file.with_suffix(".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
    file.write_text("0")
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(file)}
